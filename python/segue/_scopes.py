"""Timeouts, sleeping and checkpoints: the small functions around `CancelScope`.

The scope itself is in Rust (`_core.CancelScope`). Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from types import TracebackType

from ._core import CancelScope, current_time, sleep_forever

Cancelled = asyncio.CancelledError


class TooSlowError(TimeoutError):
    """A `fail_after` or `fail_at` block was not done in time."""


def _check_seconds(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("`seconds` must not be NaN")
    if seconds < 0:
        raise ValueError("`seconds` must be non-negative")
    return seconds


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """A scope that cancels itself `seconds` after it is entered; the program goes on behind the block.

    Raises ValueError if `seconds` is negative or NaN.
    """
    return CancelScope(relative_deadline=_check_seconds(seconds), shield=shield)


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope that cancels itself at `deadline`, in seconds on the loop's clock (`current_time()`)."""
    return CancelScope(deadline=deadline, shield=shield)


class _FailScope:
    """A `with` block around a scope that turns its caught cancellation into TooSlowError."""

    __slots__ = ("_scope",)

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> CancelScope:
        return self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Never True: checkers would take it that the program may go on behind the block.
        self._scope.__exit__(kind, exc, tb)
        if self._scope.cancelled_caught:
            raise TooSlowError(str(self._scope.cancellation))


def fail_after(seconds: float, *, shield: bool = False) -> _FailScope:
    """Like `move_on_after`, but raises TooSlowError if the block was cancelled for being late."""
    return _FailScope(move_on_after(seconds, shield=shield))


def fail_at(deadline: float, *, shield: bool = False) -> _FailScope:
    """Like `move_on_at`, but raises TooSlowError if the block was cancelled for being late."""
    return _FailScope(move_on_at(deadline, shield=shield))


async def _until(is_over: Callable[[], bool], wait: Callable[[], Awaitable[object]]) -> None:
    """`wait()` until `is_over()`. A `Task.cancel()` doesn't end that; it is raised afterwards."""
    request = None
    while True:
        try:
            await wait()
        except asyncio.CancelledError as exc:
            request = exc
        if is_over():
            break
    if request is not None:
        try:
            raise request
        finally:
            del request


async def sleep(seconds: float) -> None:
    """Sleep; `sleep(0)` is a checkpoint. Raises ValueError if `seconds` is negative or NaN."""
    if _check_seconds(seconds) == math.inf:
        await sleep_forever()
    await asyncio.sleep(seconds)


async def sleep_until(deadline: float) -> None:
    """Sleep until `deadline`, in seconds on the loop's clock; a checkpoint if it has passed."""
    if math.isnan(deadline):
        raise ValueError("deadline must not be NaN")
    await sleep(max(0.0, deadline - current_time()))
