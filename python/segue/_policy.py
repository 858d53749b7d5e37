"""`segue.install()`: Segue for every `asyncio.run` and `asyncio.new_event_loop` of this process, on request only."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from ._loop import EventLoop, new_event_loop

# Policies are deprecated from 3.14 on; naming them must not warn somebody who never asked for one.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    _DefaultPolicy: Any = asyncio.DefaultEventLoopPolicy


class EventLoopPolicy(_DefaultPolicy):  # type: ignore[misc]
    """asyncio's default policy, except that new loops are Segue's."""

    _loop_factory = EventLoop

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return new_event_loop()


_before: Any = None


def install() -> None:
    """Make Segue the loop of `asyncio.run()` and `asyncio.new_event_loop()` in this process.

    Loops that exist already are not touched. `uninstall()` takes it back. From CPython 3.14 on policies are deprecated
    and from 3.16 on gone: prefer `segue.run(...)` or `loop_factory=segue.new_event_loop`.
    """
    global _before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        current = asyncio.get_event_loop_policy()
        if not isinstance(current, EventLoopPolicy):
            _before = current
            asyncio.set_event_loop_policy(EventLoopPolicy())


def uninstall() -> None:
    """Put back the policy that was there before `install()`; does nothing without one."""
    global _before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if isinstance(asyncio.get_event_loop_policy(), EventLoopPolicy):
            asyncio.set_event_loop_policy(_before)
        _before = None
