"""Trio's decorators around Ctrl-C. Here they change nothing: Ctrl-C never interrupts Segue's own code.

`segue.trio.run` says what it does interrupt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def enable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


def disable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


def currently_ki_protected() -> bool:
    """Whether Ctrl-C doesn't interrupt the code that runs now: a system task, or a callback of the loop."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return False
    task: Any = asyncio.current_task(loop)
    if task is None:
        return True
    system = vars(loop).get("_system_nursery")
    return system is not None and task.parent_nursery is system
