"""`segue.run` and `segue.Runner`: asyncio's own runner with Segue's loop under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._background import drain
from ._loop import new_event_loop

_T = TypeVar("_T")


class Runner(asyncio.Runner):  # type: ignore[misc]  # typeshed calls it final; CPython doesn't
    """`asyncio.Runner` on a Segue loop: runs several coroutines in one loop and context, and cleans up at the end.

    Ctrl-C cancels the main task and then raises KeyboardInterrupt, as in asyncio.
    Source: https://docs.python.org/3/library/asyncio-runner.html
    """

    def __init__(
        self,
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)

    def close(self) -> None:
        """Wait for background tasks (`segue.background`), then do what `asyncio.Runner.close` does."""
        loop = self._loop  # type: ignore[attr-defined]
        try:
            if loop is not None and not loop.is_closed() and vars(loop).get("_background_tasks"):
                loop.run_until_complete(drain())
        finally:
            super().close()


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run a coroutine on a new Segue loop and return its result; then close the loop.

    As `asyncio.run`: raises RuntimeError when called from a running loop and ValueError for what is no coroutine;
    remaining tasks are cancelled and awaited, asynchronous generators and the default executor are shut down.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("segue.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
