"""Trio's decorators around Ctrl-C. Here they change nothing: Ctrl-C never interrupts Segue's own code.

`segue.trio.run` says what it does interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def enable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


def disable_ki_protection(fn: F, /) -> F:
    """`fn` itself."""
    return fn


_protected: ContextVar[bool] = ContextVar("segue_protected", default=False)
"""Set in the context of system tasks."""


def currently_ki_protected() -> bool:
    """Whether Ctrl-C doesn't interrupt the code that runs now: that of a system task with a context of its own."""
    return _protected.get()
