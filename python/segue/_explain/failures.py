"""What is noted of a task at the moment when it fails: later nobody knows any more what ran beside it and who waited.

The core calls `note` with each task of Segue's that fails or was cancelled, while errors are explained
(`reporting.explain_errors`), before those that await it are woken. The note hangs on the exception, so that it is there
as long as somebody can ask, and not longer. An exception that passes through several tasks, each awaiting the other,
has one note of each; how long its traceback was each time says which of its frames are whose.
"""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass
from typing import Any

from .. import _core
from . import cancellations, places
from .tasks import (
    Group,
    Start,
    TaskName,
    Wait,
    awaited_by,
    group_of,
    is_in_record,
    name_of,
    recorded_starts,
    starts_of,
    wait_of,
)
from .words import is_a

MOST_NOTES = 50
"""On one exception: one object may be raised again and again."""
MOST_AWAITING = 5

_NAME = "_segue_failures"
_noted_groups: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclass(frozen=True)
class Failure:
    """A task has failed."""

    task: TaskName
    depth: int
    """How many frames the traceback had."""
    starts: tuple[Start, ...]
    """Empty if they are in the record, which is asked when they are shown."""
    group: Group | None
    awaited_by: tuple[Wait, ...]

    def __reduce__(self) -> Any:
        # An exception that goes to another process takes what hangs on it along. There it would say nothing.
        return str, ()

    def all_starts(self) -> tuple[Start, ...]:
        return self.starts or tuple(recorded_starts(self.task.id))


def start_noting() -> None:
    _core._when_a_task_fails(note)


def stop_noting() -> None:
    _core._when_a_task_fails(None)


def note(task: asyncio.Task[Any], exc: BaseException) -> None:
    """The task is about to end with `exc`."""
    noted = _list_of(exc)
    if noted is None:
        noted = []
        attributes_of(exc)[_NAME] = noted
    if len(noted) < MOST_NOTES:
        noted.append(_failure(task, exc))


def _failure(task: asyncio.Task[Any], exc: BaseException) -> Failure:
    name = name_of(task)
    depth = places.depth(exc.__traceback__)
    starts = () if is_in_record(name.id) else tuple(starts_of(task))
    if is_a(exc, asyncio.CancelledError):
        cancellations.note(task, exc)
        # Thousands may be cancelled at once, and nobody wonders what the others did then.
        return Failure(name, depth, starts, None, ())
    return Failure(
        name,
        depth,
        starts,
        group_of(task, _noted_groups),
        tuple(wait_of(other) for other in awaited_by(task)[:MOST_AWAITING]),
    )


def _list_of(exc: BaseException) -> list[Any] | None:
    noted = attributes_of(exc).get(_NAME)
    return noted if type(noted) is list else None


def attributes_of(exc: BaseException) -> dict[str, Any]:
    """Its own attributes, whatever its class makes of access to them."""
    found: dict[str, Any] = _ATTRIBUTES.__get__(exc)
    return found


_ATTRIBUTES: Any = BaseException.__dict__["__dict__"]


def failures_of(exc: BaseException) -> list[Failure]:
    """The tasks that it has ended, the first one first."""
    return [entry for entry in _list_of(exc) or () if isinstance(entry, Failure)]
