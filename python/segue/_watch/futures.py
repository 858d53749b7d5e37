"""What asyncio's futures and gathers know of each other, read from their done callbacks."""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from .code import awaits, frame_of


def closure(future: Any, qualname: str, name: str) -> Any:
    """What a done callback of this name has in its closure; None if there is no such callback."""
    for entry in getattr(future, "_callbacks", None) or ():
        callback = entry[0] if isinstance(entry, tuple) else entry
        code = getattr(callback, "__code__", None)
        if code is None or code.co_qualname != qualname or name not in code.co_freevars:
            continue
        try:
            return callback.__closure__[code.co_freevars.index(name)].cell_contents
        except ValueError:  # an empty cell
            return None
    return None


def is_bare(future: Any) -> bool:
    return (
        isinstance(future, asyncio.Future)
        and not isinstance(future, asyncio.Task)
        and not hasattr(future, "_children")
        and len(future._callbacks or ()) <= 1
        and closure(future, "shield.<locals>._outer_done_callback", "inner") is None
        and not any("_call_check_cancel" in repr(callback) for callback in future._callbacks or ())
    )


def frame_that_awaits(future: Any) -> FrameType | None:
    for task in asyncio.all_tasks():
        if getattr(task, "_fut_waiter", None) is future:
            frames = [frame_of(one) for one in awaits(task.get_coro())]
            return frames[-1] if frames else None
    return None
