"""Exceptions in words: groups as trees in which equal errors are one entry with a count, causes, who cancelled.

Whatever hangs on an exception may be odd: a `__str__` that raises, a cycle of contexts, a group of a million or nested
a thousand deep. Nothing here raises because of that, and what is made has a size that people can read.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from typing import Any

from . import places
from .cancellations import Cancelled, cancelled_by
from .failures import Failure, attributes_of, failures_of
from .places import Place
from .tasks import Group, Start, TaskName, Wait
from .words import is_a, safely, text_of, type_name

MOST_LEVELS = 20
"""Of groups in groups, and of causes of causes."""
MOST_IN_GROUP = 50
MOST_ERRORS = 300
"""In one explanation."""
MOST_MESSAGES = 3
MOST_NAMES = 5
LOOKED_AT = 50
"""So many of equal errors are asked for their message."""


@dataclass(frozen=True)
class Stretch:
    """The frames of a traceback that ran in one task; those outside of tasks have none."""

    task: TaskName | None
    frames: tuple[Place, ...]
    starts: tuple[Start, ...] = ()
    group: Group | None = None
    awaited_by: tuple[Wait, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "task": self.task and self.task.as_dict(),
            "started_by": [start.as_dict() for start in self.starts],
            "frames": [frame.with_source() for frame in self.frames],
            "group": self.group and self.group.as_dict(),
            "awaited_by": [wait.as_dict() for wait in self.awaited_by],
        }


@dataclass(frozen=True)
class Error:
    """An exception, or `count` of them that were raised at the same lines for the same reasons."""

    type: str
    message: str
    notes: tuple[str, ...] = ()
    count: int = 1
    messages: tuple[str, ...] = ()
    """Of equal errors with several messages the first ones."""
    tasks: tuple[str, ...] = ()
    """Of equal errors the names of the first tasks that failed with them."""
    call_chain: tuple[Stretch, ...] = ()
    """The task that failed first, then the one that awaited it, and so on; what is outside of tasks is last."""
    cancelled: Cancelled | None = None
    errors: tuple[Error, ...] = ()
    """What is in a group."""
    leaves: int = 0
    """How many exceptions that are no groups a group has in it, at any depth."""
    left_out: int = 0
    """How many of what is in a group aren't in `errors`."""
    cause: Error | None = None
    context: Error | None = None
    elsewhere: bool = False
    """It is told at another place of the same explanation (or is one too many)."""

    @property
    def in_a_task(self) -> bool:
        return any(stretch.task is not None for stretch in self.call_chain)

    @property
    def says_more(self) -> bool:
        """Whether there is more than in a traceback of Python's: tasks, a group, who cancelled."""
        if self.leaves or self.in_a_task or self.cancelled is not None:
            return True
        behind = self.cause or self.context
        return behind is not None and behind.says_more

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type, "message": self.message, "count": self.count}
        if self.elsewhere:
            return found
        found["notes"] = list(self.notes)
        found["call_chain"] = [stretch.as_dict() for stretch in self.call_chain]
        if self.count > 1:
            found["messages"], found["tasks"] = list(self.messages), list(self.tasks)
        if self.cancelled is not None:
            found["cancelled_by"] = self.cancelled.as_dict()
        if self.leaves:
            found["errors"] = [error.as_dict() for error in self.errors]
            found["leaves"], found["left_out"] = self.leaves, self.left_out
        found["cause"] = self.cause and self.cause.as_dict()
        found["context"] = self.context and self.context.as_dict()
        return found


def error_of(exc: BaseException, task: TaskName | None = None, starts: tuple[Start, ...] = ()) -> Error:
    """`task`, with who started it, is where it failed if nothing was noted of that."""
    found = _Reading().error(exc, 0)
    if task is not None and not found.in_a_task and found.call_chain:
        first = replace(found.call_chain[0], task=task, starts=starts)
        found = replace(found, call_chain=(first, *found.call_chain[1:]))
    return found


@dataclass
class _Reading:
    """One explanation in the making."""

    seen: set[int] = field(default_factory=set)

    def error(self, exc: BaseException, level: int) -> Error:
        name = type_name(type(exc))
        if id(exc) in self.seen or level > MOST_LEVELS or len(self.seen) >= MOST_ERRORS:
            return Error(name, message_of(exc), elsewhere=True, leaves=_leaves(exc))
        self.seen.add(id(exc))
        cause, context = _behind(exc)
        inside, left_out = self.inside(exc, level)
        return Error(
            name,
            message_of(exc),
            notes_of(exc),
            call_chain=call_chain_of(exc),
            cancelled=cancelled_by(exc),
            errors=inside,
            leaves=_leaves(exc),
            left_out=left_out,
            cause=self.error(cause, level + 1) if cause is not None else None,
            context=self.error(context, level + 1) if context is not None else None,
        )

    def inside(self, exc: BaseException, level: int) -> tuple[tuple[Error, ...], int]:
        alike: dict[Any, list[BaseException]] = {}
        for child in _in_group(exc):
            alike.setdefault(_signature(child, 0), []).append(child)
        found = []
        groups = list(alike.values())
        for equal in groups[:MOST_IN_GROUP]:
            found.append(self.counted(equal, level + 1))
        return tuple(found), sum(map(len, groups[MOST_IN_GROUP:]))

    def counted(self, equal: list[BaseException], level: int) -> Error:
        first = self.error(equal[0], level)
        if len(equal) == 1:
            return first
        messages = dict.fromkeys(message_of(exc) for exc in equal[:LOOKED_AT])
        tasks = [notes[0].task.name for exc in equal[:MOST_NAMES] if (notes := failures_of(exc))]
        return replace(
            first,
            count=len(equal),
            messages=tuple(messages)[:MOST_MESSAGES] if len(messages) > 1 else (),
            tasks=tuple(tasks),
        )


# ---- parts of an exception, whatever its class overrides -------------------------------------------------------------


def _in_group(exc: BaseException) -> tuple[BaseException, ...]:
    if not is_a(exc, BaseExceptionGroup):
        return ()
    found: tuple[BaseException, ...] = _EXCEPTIONS.__get__(exc)
    return found


_EXCEPTIONS: Any = BaseExceptionGroup.__dict__["exceptions"]
_MESSAGE: Any = BaseExceptionGroup.__dict__["message"]
_CAUSE: Any = BaseException.__dict__["__cause__"]
_CONTEXT: Any = BaseException.__dict__["__context__"]
_SUPPRESS: Any = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]


def _behind(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What it was raised from, and else in whose handling: what Python's own tracebacks show."""
    cause = _CAUSE.__get__(exc)
    if cause is not None or _SUPPRESS.__get__(exc):
        return cause, None
    return None, _CONTEXT.__get__(exc)


def _leaves(exc: BaseException) -> int:
    """How many exceptions in it are no groups; 0 if it is none itself. Groups may be nested deeply, and shared."""
    if not is_a(exc, BaseExceptionGroup):
        return 0
    counts: dict[int, int] = {}
    left: list[tuple[BaseException, bool]] = [(exc, False)]
    while left:
        at, is_counted = left.pop()
        children = _in_group(at)
        if is_counted:
            counts[id(at)] = sum(counts[id(child)] for child in children)
        elif id(at) not in counts:
            counts[id(at)] = 0 if children else 1
            if children:
                left.append((at, True))
                left += [(child, False) for child in children]
    return counts[id(exc)]


def _signature(exc: BaseException | None, level: int) -> Any:
    """Equal for exceptions that are one entry: same class, same lines, for the same reasons. Cheap: no text is made."""
    if exc is None:
        return None
    if level > 5:
        return type(exc)
    at = _TRACEBACK.__get__(exc)
    lines: list[tuple[int, int]] = []
    while at is not None and len(lines) < 100:
        lines.append((id(at.tb_frame.f_code), at.tb_lasti))
        at = at.tb_next
    children = _in_group(exc)
    inside = frozenset(_signature(child, level + 1) for child in children[:MOST_IN_GROUP])
    tasks = tuple(note.task.coroutine for note in failures_of(exc)[:5])
    return type(exc), tuple(lines), tasks, len(children), inside, *(_signature(e, level + 1) for e in _behind(exc))


def message_of(exc: BaseException) -> str:
    if is_a(exc, BaseExceptionGroup) and type(exc).__str__ is BaseExceptionGroup.__str__:
        return text_of(_MESSAGE.__get__(exc))
    if is_a(exc, SyntaxError, NameError, AttributeError, ImportError):
        return safely(lambda: _with_suggestion(exc), "its str() failed")
    return text_of(exc)


def _with_suggestion(exc: BaseException) -> str:
    """As tracebacks have it: with the line of a syntax error, and "Did you mean"."""
    told = traceback.TracebackException(type(exc), exc, _TRACEBACK.__get__(exc), lookup_lines=False)
    told.__notes__ = None  # they are told elsewhere
    text = "".join(told.format_exception_only()).rstrip("\n")
    return text.removeprefix(f"{type_name(type(exc))}: ")


def notes_of(exc: BaseException) -> tuple[str, ...]:
    notes: Any = attributes_of(exc).get("__notes__")
    if is_a(notes, list, tuple):
        return tuple(map(text_of, notes[:20]))
    return ()


def call_chain_of(exc: BaseException) -> tuple[Stretch, ...]:
    """Its traceback, cut where one task awaited another."""
    frames = places.of_traceback(_TRACEBACK.__get__(exc))
    failures: list[Failure] = []
    for failure in failures_of(exc):
        while failures and failures[-1].depth >= failure.depth:
            failures.pop()  # it was raised again from the start
        failures.append(failure)
    while failures and failures[-1].depth > len(frames):
        failures.pop()  # somebody has cut the traceback
    found = []
    end = len(frames)
    for failure in failures:
        begin = len(frames) - failure.depth
        is_last = failure is failures[-1]
        found.append(
            Stretch(
                failure.task,
                tuple(frames[begin:end]),
                failure.all_starts(),
                failure.group,
                failure.awaited_by if is_last else (),
            )
        )
        end = begin
    if end or not found:
        found.append(Stretch(None, tuple(frames[:end])))
    return tuple(found)
