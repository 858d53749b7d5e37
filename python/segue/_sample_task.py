"""One task of asyncio's own C type, made for the core to measure: where the type keeps what debuggers read.

Called once, when the core is loaded on CPython 3.14 or later; see `crates/py/src/raw/registry_3_14.rs`.
"""

from __future__ import annotations

import _asyncio
from collections.abc import Coroutine
from typing import Any


class _LoopThatRunsNothing:
    def get_debug(self) -> bool:
        return False

    def call_soon(self, *args: Any, **kwargs: Any) -> None:
        pass


async def _nothing() -> None:
    pass


def make() -> tuple[Any, Coroutine[Any, Any, None], str]:
    """A task that never runs, its coroutine (closed) and its name."""
    coroutine = _nothing()
    name = "".join(["segue", " sample"])  # an object of its own: the core looks for its address
    loop: Any = _LoopThatRunsNothing()
    task: Any = _asyncio.Task(coroutine, loop=loop, name=name)
    task._log_destroy_pending = False
    coroutine.close()
    return task, coroutine, name
