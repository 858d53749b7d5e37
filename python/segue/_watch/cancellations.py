"""Cancellations: where a task was when it was asked, whether it swallowed that, and shields that outlive it."""

from __future__ import annotations

import asyncio
import gc
import operator
import sys
import weakref
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .. import _core
from .code import awaits, code_of, frame_of, is_program, place, place_of, program_frame
from .codes import (
    AT_THE_END,
    BARE_FUTURE,
    CANCELLATION_SWALLOWED,
    INTERRUPTED,
    IS_AWAITED,
    OUTLIVES_OWNER,
    TIMED_OUT,
)
from .futures import closure, is_bare
from .handlers import EXCEPT, FINALLY, SUPPRESS, WITH, Handler, handlers


class Cancellations:
    """The tasks that were asked to cancel."""

    def __init__(self) -> None:
        self._cancelled: weakref.WeakKeyDictionary[Any, _Cancelled] = weakref.WeakKeyDictionary()
        self._shields: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = weakref.WeakKeyDictionary()
        self.given_up: weakref.WeakSet[Any] = weakref.WeakSet()
        """Tasks that were not done when an `asyncio.wait` with a timeout was."""

    def asked(self, task: Any, scope: int) -> int:
        """A task is about to be cancelled: facts about it. `scope`: a number of the cancel scope that does it, or 0."""
        here = sys._getframe(2)
        at_the_end = _is_at_the_end(here)
        facts = AT_THE_END if at_the_end else TIMED_OUT if _is_a_timeout(here) else 0
        if task in self.given_up or self._owner_timed_out(here):
            facts |= TIMED_OUT
        if _is_called_by(here, {"_on_sigint"}):
            facts |= INTERRUPTED
        chain = list(awaits(task.get_coro()))
        waiter = getattr(task, "_fut_waiter", None)
        if getattr(task, "_callbacks", None):
            facts |= IS_AWAITED
        if chain and is_bare(waiter):
            code = code_of(chain[-1])
            facts |= BARE_FUTURE if code is not None and is_program(code) else 0
        before = self._cancelled.get(task)
        if before is not None and scope and before.scope == scope:
            # The same scope, which cancels at every await: is it one of the clean-up, or did the task go on?
            if before.is_open() and not any(map(_handles_cancellation, chain)):
                self._swallowed(task, before, chain)
        elif before is None or task.cancelling() <= 1:
            at = []
            for one in chain:
                code, frame = code_of(one), frame_of(one)
                if code is not None and frame is not None:
                    at.append(_Suspended(weakref.ref(one), code, frame.f_lasti, frame.f_lineno))
            # anyio cancels again at every await: who catches it once is not done with it. A group that cancels the task
            # that waits for it catches that itself.
            is_of_others = _is_called_by(here, {"_deliver_cancellation"}) or _is_called_by(here, {"_on_task_done"}, 1)
            is_minded = not at_the_end and not is_of_others
            # What is done already can't be cancelled any more: then the task itself is told.
            asked = waiter if asyncio.isfuture(waiter) and not waiter.done() else None
            self._cancelled[task] = _Cancelled(at, is_minded, asked, scope, facts & TIMED_OUT)
        self._note_shield(task, waiter, chain)
        return facts

    def _owner_timed_out(self, here: FrameType) -> bool:
        """A group cancels its tasks, since the time of the task that waits for them ran out."""
        if not _is_called_by(here, {"_abort"}, 4):
            return False
        group = self._of(asyncio.current_task())
        return group is not None and group.timed_out

    def _of(self, task: Any) -> _Cancelled | None:
        return None if task is None else self._cancelled.get(task)

    def _note_shield(self, task: Any, waiter: Any, chain: list[Any]) -> None:
        inner = closure(waiter, "shield.<locals>._outer_done_callback", "inner")
        if inner is None or inner.done():
            return
        frames = [frame for frame in map(frame_of, chain) if frame is not None]
        mine = [frame for frame in frames if is_program(frame.f_code)] or frames
        self._shields[task] = (inner, place(mine[-1]) if mine else "")
        _core._look_at_ends(True)

    def gives_up(self, waiter: Any) -> None:
        """CPython 3.11's `wait_for` cancels what it waits for, and not the task."""
        task, frame = asyncio.current_task(), program_frame(sys._getframe(2))
        inner = closure(waiter, "shield.<locals>._outer_done_callback", "inner")
        if task is not None and frame is not None and inner is not None and not inner.done():
            self._shields[task] = (inner, place(frame))
            _core._look_at_ends(True)

    def waits(self, task: Any) -> None:
        """A task waits although it was asked to cancel."""
        cancelled = self._cancelled.get(task)
        if cancelled is None or task._must_cancel or not cancelled.is_open():
            return
        chain = list(awaits(task.get_coro()))
        if not any(map(_handles_cancellation, chain)):
            self._swallowed(task, cancelled, chain)

    def finished(self, task: Any, how: int, in_cancelled_scope: bool) -> None:
        """A task has ended with a result (0), an exception (1) or cancelled (2)."""
        cancelled = self._cancelled.get(task)
        if how == 0 and cancelled is not None and (task.cancelling() > 0 or in_cancelled_scope) and cancelled.is_open():
            self._swallowed(task, cancelled, [])
        shield = self._shields.pop(task, None)
        if shield is not None:
            inner, where = shield
            if not inner.done() and (cancelled is None or cancelled.is_minded):
                _core._tell_warning(OUTLIVES_OWNER, where, inner, task.get_name(), 0)

    def timeout_ends(self, timeout: Any, kind: object, *_: object) -> None:
        """A timeout's block is left: if its time ran out and nothing was raised, the cancellation was swallowed."""
        task = asyncio.current_task()
        cancelled = self._of(task) if kind is None and timeout.expired() else None
        if cancelled is not None and cancelled.is_open() and cancelled.timed_out:
            self._swallowed(task, cancelled, [])

    def _swallowed(self, task: Any, cancelled: _Cancelled, chain: list[Any]) -> None:
        caught = cancelled.caught_at(chain)
        if caught is None:
            return
        cancelled.is_told = True
        where, line, by = caught
        text = f"it was waiting at line {line}, and the cancellation ended in {by}"
        _core._tell_warning(CANCELLATION_SWALLOWED, where, task, text, 0)


class _Cancelled:
    """Where a task was when it was cancelled."""

    __slots__ = ("_at", "_waiter", "is_minded", "is_told", "scope", "timed_out")

    def __init__(self, at: list[_Suspended], is_minded: bool, waiter: Any, scope: int, timed_out: int) -> None:
        self._at = at
        self.scope = scope
        self.timed_out = bool(timed_out)
        self.is_minded = is_minded
        """Not when the program ends."""
        self._waiter = waiter
        self.is_told = False

    def is_open(self) -> bool:
        """It matters, and nothing was told of it."""
        return self.is_minded and not self.is_told and not self._was_refused()

    def _was_refused(self) -> bool:
        """What it waited for has gone on instead of being cancelled: the task itself was never told."""
        waiter = self._waiter
        return waiter is not None and waiter.done() and not waiter.cancelled()

    def caught_at(self, chain: list[Any]) -> tuple[str, int, str] | None:
        """Where the program catches it, the line that was waiting, and what catches it; None if a library does.

        `chain`: what the task awaits now. Of what it awaited then, the inner ones have ended, and the innermost that
        hasn't has seen how; those further out have not.
        """
        same = 0
        while same < min(len(chain), len(self._at)) and self._at[same].one() is chain[same]:
            same += 1
        line = self._at[-1].line if self._at else 0
        found: list[tuple[int, str, Handler]] = []
        for at in reversed(self._at[max(same - 1, 0) :]):
            if is_program(at.code):
                found += [
                    (_LIKELY[one.kind] + one.raises, place_of(at.code, one.line), one)
                    for one in handlers(at.code, at.lasti)
                ]
                line = at.line if not found else line
        # A `with` that has nothing special about it mostly lets it pass: only if the task has ended well all the same.
        likely = [one for one in found if one[2].kind != WITH or not chain]
        if not likely:
            return None
        _, where, handler = min(likely, key=operator.itemgetter(0))
        return where, line, _CATCHES[handler.kind]


_LIKELY = {EXCEPT: 0, SUPPRESS: 0, FINALLY: 2, WITH: 3}
_CATCHES = {EXCEPT: "its `except`", SUPPRESS: "its `with`", FINALLY: "a `finally:`", WITH: "its `with`"}


class _Suspended(NamedTuple):
    """A coroutine or generator that awaited something."""

    one: Callable[[], Any]
    code: CodeType
    lasti: int
    line: int


def _handles_cancellation(coroutine: Any) -> bool:
    """Whether it is in an `except` or `finally` because of a cancellation: what it awaits there is clean-up."""
    for referent in gc.get_referents(coroutine):
        exc = referent if isinstance(referent, BaseException) else None
        for _ in range(20):
            if isinstance(exc, asyncio.CancelledError):
                return True
            if exc is None:
                break
            exc = exc.__context__
    return False


def _is_called_by(frame: FrameType | None, names: set[str], most: int = 12) -> bool:
    """Whether a function of one of these names, not the program's, is among the nearest callers."""
    for _ in range(most):
        if frame is None:
            return False
        if frame.f_code.co_name in names and not is_program(frame.f_code):
            return True
        frame = frame.f_back
    return False


def _is_a_timeout(frame: FrameType | None) -> bool:
    return _is_called_by(frame, {"_on_timeout", "wait_for"})


def _is_at_the_end(frame: FrameType | None) -> bool:
    return _is_called_by(frame, {"_cancel_all_tasks"}, 4)
