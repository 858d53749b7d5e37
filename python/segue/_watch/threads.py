"""Calls that wait for a free thread of an executor: told to a recording, for `watch.py`.

A call that is given to a thread pool whose threads are all busy waits in its queue, and nobody sees it: the task just
waits longer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import _core
from .code import place, program_frame
from .codes import EXECUTOR_STARVED

_LONG = 1.0
"""Seconds: so long a call waits for a thread before it is told."""


class TimedCall:
    """A call that notes how long it has waited when it begins."""

    __slots__ = ("_busy", "_call", "_given", "_where")

    def __init__(self, call: Callable[..., Any], where: str, busy: int) -> None:
        self._call, self._where, self._busy = call, where, busy
        self._given = time.monotonic()

    def __call__(self, *args: Any) -> Any:
        waited = time.monotonic() - self._given
        if waited >= _LONG:
            name = getattr(self._call, "__qualname__", None) or type(self._call).__name__
            func = getattr(self._call, "func", None)  # asyncio.to_thread gives a partial of Context.run
            if func is not None and getattr(self._call, "args", None):
                name = getattr(self._call.args[0], "__qualname__", name)  # type: ignore[attr-defined]
            threads = f"{self._busy} threads" if self._busy else "its threads"
            text = f"A call of {name} waited {waited:.1f} s because an executor's {threads} were busy; it was made"
            _core._tell_warning(EXECUTOR_STARVED, self._where, False, text, int(waited * 1e9))
        return self._call(*args)


def timed(loop: Any, executor: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, timed if it goes to a thread pool and the program asked for it."""
    if executor is None:
        executor = loop._default_executor
    if executor is not None and type(executor) is not ThreadPoolExecutor:
        return call
    frame = program_frame(sys._getframe(2))
    if frame is None:
        return call
    busy = executor._max_workers if executor is not None else 0
    return TimedCall(call, place(frame), busy)
