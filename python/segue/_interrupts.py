"""Trio's decorators around Ctrl-C. Here they change nothing: Ctrl-C never interrupts Segue's own code.

`segue.trio.run` says what it does interrupt.
"""

from __future__ import annotations

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
    """False: no code is exempt by itself from being interrupted by Ctrl-C."""
    return False
