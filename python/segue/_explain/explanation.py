"""What `segue.inspect.explain` returns: an exception or a task in words, for people and for machines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from .cancellations import Cancelled, who_cancelled
from .errors import Error, error_of
from .places import Place, own_line
from .tasks import (
    Group,
    Start,
    TaskName,
    Wait,
    awaited_by,
    failure_of,
    group_of,
    is_recorded,
    name_of,
    stack_of,
    starts_of,
    state_of,
    wait_of,
    waits_down,
    waits_for,
)
from .words import type_name


@dataclass(frozen=True)
class TaskState:
    """A task, as it was when this was made."""

    task: TaskName
    state: str
    """ "running", "ready", "waiting", "finished", "failed" or "cancelled"."""
    what: str
    """What it waits for."""
    call_stack: tuple[Place, ...]
    started_by: tuple[Start, ...]
    waits_for: tuple[Wait, ...]
    """The task that it waits for, the one which that waits for, and so on."""
    in_a_circle: bool
    """The last of them waits for one before it."""
    awaited_by: tuple[Wait, ...]
    group: Group | None
    cancelled: Cancelled | None

    def as_dict(self) -> dict[str, Any]:
        place = own_line(self.call_stack)
        return {
            **self.task.as_dict(),
            "state": self.state,
            "what": self.what,
            "place": place and place.as_dict(),
            "call_stack": [frame.with_source() for frame in self.call_stack],
            "started_by": [start.as_dict() for start in self.started_by],
            "waits_for": [wait.as_dict() for wait in self.waits_for],
            "in_a_circle": self.in_a_circle,
            "awaited_by": [wait.as_dict() for wait in self.awaited_by],
            "group": self.group and self.group.as_dict(),
            "cancelled_by": self.cancelled and self.cancelled.as_dict(),
        }


@dataclass(frozen=True)
class Explanation:
    """An exception or a task in words. It keeps none of the program's objects alive.

    `str()` of it is `text()`.
    """

    error: Error | None = None
    task: TaskState | None = None
    is_recorded: bool = False

    @property
    def says_more(self) -> bool:
        """Whether there is more in it than in a traceback of Python's: tasks, a group, who cancelled."""
        return self.task is not None or (self.error is not None and self.error.says_more)

    def text(self, *, color: bool = False, frames: str = "own") -> str:
        """For people, without a newline at the end. `frames="all"` shows the libraries' frames too."""
        from .text import render

        return render(self, color=color, all_frames=frames == "all")

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`: strings, numbers, lists and dicts. `error` and `task` are None where there is none."""
        return {
            "error": self.error and self.error.as_dict(),
            "task": self.task and self.task.as_dict(),
        }

    def __str__(self) -> str:
        return self.text()


def explain(what: BaseException | asyncio.Future[Any], *, task: asyncio.Task[Any] | None = None) -> Explanation:
    """Say why something failed or what it waits for, in words.

    Of an exception: the tasks that it went through from the one which raised it, each with its own frames, who started
    them and where, what else ran in their nursery, who cancelled; groups as a tree in which equal errors are counted;
    causes. Of a task: where it is and what it waits for, who awaits it, who started it, what runs beside it. `task` is
    the task that an exception ended, for loops that note nothing themselves.

    What was not noted when it happened can't be told: after `explain_errors()`, and under `segue run --explain`, all is
    noted. Works on any asyncio loop. Never raises because of what the program's objects do, and retrieves no exception.
    """
    if isinstance(what, BaseException):
        return _of_exception(what, task)
    if isinstance(what, asyncio.Task):
        return _of_task(what)
    if isinstance(what, asyncio.Future):
        failure = failure_of(what) if what.done() and not what.cancelled() else None
        if failure is not None:
            return _of_exception(failure, None)
        raise TypeError(f"a future that has not failed has nothing to explain: {what!r}")
    raise TypeError(f"only exceptions and tasks can be explained, not {type_name(type(what))}")


def _of_exception(exc: BaseException, task: asyncio.Task[Any] | None) -> Explanation:
    if task is None:
        return Explanation(error_of(exc), is_recorded=is_recorded())
    return Explanation(error_of(exc, name_of(task), tuple(starts_of(task))), is_recorded=is_recorded())


def _of_task(task: asyncio.Task[Any]) -> Explanation:
    done = task.done()
    failure = failure_of(task) if done and not task.cancelled() else None
    stack = [] if done else stack_of(task)
    down, in_a_circle = waits_down(task)
    state = TaskState(
        name_of(task),
        state_of(task),
        waits_for(task, stack),
        tuple(stack),
        tuple(starts_of(task)),
        tuple(down),
        in_a_circle,
        tuple(wait_of(other) for other in awaited_by(task)),
        group_of(task),
        who_cancelled(task) if done and task.cancelled() else None,
    )
    error = None if failure is None else error_of(failure, state.task, state.started_by)
    return Explanation(error, state, is_recorded())
