"""Who cancelled a task, in words: of its CancelledError, and of the task itself without taking that error away."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass
from typing import Any

from .. import _core
from .places import Place, library_of
from .words import is_a, text_of


@dataclass(frozen=True)
class Cancelled:
    """Who cancelled."""

    source: str
    reason: str | None
    task: str | None
    place: Place | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "reason": self.reason,
            "task": self.task,
            "place": self.place and self.place.as_dict(),
        }


def cancelled_by(exc: BaseException) -> Cancelled | None:
    if not is_a(exc, asyncio.CancelledError):
        return None
    try:
        info = _core.cancellation(exc)
    except BaseException:  # of a class whose attributes raise
        return None
    if info is None:
        return None
    place = None
    if info.filename is not None and info.lineno is not None:
        _, _, function = text_of(info).rpartition(f"{info.filename}:{info.lineno} ")
        place = Place(info.filename, info.lineno, function, library_of(info.filename))
    return Cancelled(info.source, None if info.reason is None else text_of(info.reason), info.task_name, place)


_noted: weakref.WeakKeyDictionary[Any, Cancelled] = weakref.WeakKeyDictionary()


def note(task: asyncio.Task[Any], exc: BaseException) -> None:
    """The task ends by being cancelled with `exc`, which whoever awaits it first takes along."""
    if (cancelled := cancelled_by(exc)) is not None:
        _noted[task] = cancelled


def who_cancelled(task: asyncio.Task[Any]) -> Cancelled | None:
    """Of a task that was cancelled. `task.exception()` would say it too, but take it from whoever awaits the task."""
    if (noted := _noted.get(task)) is not None:
        return noted
    if type(task) is _core.Task and (exc := _core._cancelled_with(task)) is not None:
        return cancelled_by(exc)
    message = getattr(task, "_cancel_message", None)
    return Cancelled("Task.cancel", text_of(message), None, None) if message is not None else None
