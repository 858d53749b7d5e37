"""Trio's decorators around Ctrl-C. Here they change nothing: Ctrl-C never interrupts Segue's own code.

`segue.trio.run` says what it does interrupt.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Functions of Segue that call a program's code on behalf of somebody who gets whatever that raises: it can be
# interrupted wherever it runs.
INTERRUPTIBLE: set[CodeType] = set()


def runs_for_somebody(frame: FrameType | None) -> bool:
    """Whether `frame` was called by one of the INTERRUPTIBLE functions, or is one."""
    while frame is not None:
        if frame.f_code in INTERRUPTIBLE:
            return True
        if frame.f_globals.get("__name__") == "segue._loop":
            return False
        frame = frame.f_back
    return False


def enable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


def disable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


def currently_ki_protected() -> bool:
    """Whether Ctrl-C doesn't interrupt the code that runs now: a system task, or a callback of the loop."""
    loop = asyncio._get_running_loop()
    if loop is None or runs_for_somebody(sys._getframe()):
        return False
    task: Any = asyncio.current_task(loop)
    if task is None:
        return True
    system = vars(loop).get("_system_nursery")
    return system is not None and task.parent_nursery is system
