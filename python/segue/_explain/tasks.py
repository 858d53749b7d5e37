"""Tasks in words: what they are called, who started them, what they wait for, who awaits them, what runs beside them.

Works on asyncio's own tasks too. There, and on Segue without a record, who started a task is known of the tasks of
nurseries, task groups and `gather` only, and where only in debug mode.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from .. import _core
from .places import Place, library_of, of_callers, of_coroutine, own_line
from .words import repr_of, safely

MOST_ANCESTORS = 20
MOST_AWAITING = 20
MOST_NAMES = 5
MOST_COUNTED = 100
"""Of what `gather` waits for: each of thousands that fail looks at who awaits it."""
MOST_BESIDES = 10_000
"""So many of the tasks beside one are looked at."""


@dataclass(frozen=True)
class TaskName:
    """What a task is called. `id` is unique in the process, and the same in recordings and logs."""

    id: int
    name: str
    coroutine: str

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "coroutine": self.coroutine}


@dataclass(frozen=True)
class Start:
    """Who started a task, and where; what isn't known is None."""

    task: TaskName | None
    place: Place | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "task": self.task and self.task.as_dict(),
            "place": self.place and self.place.as_dict(),
        }


@dataclass(frozen=True)
class Wait:
    """A task that is suspended (or that was, when this was noted), and what it waits for."""

    task: TaskName
    place: Place | None
    what: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "task": self.task.as_dict(),
            "place": self.place and self.place.as_dict(),
            "what": self.what,
        }


@dataclass(frozen=True)
class Alike:
    """Tasks with the same coroutine at the same place."""

    names: tuple[str, ...]
    count: int
    coroutine: str
    state: str
    place: Place | None
    what: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "count": self.count,
            "coroutine": self.coroutine,
            "state": self.state,
            "place": self.place and self.place.as_dict(),
            "what": self.what,
        }


@dataclass(frozen=True)
class Group:
    """What a task belongs to, and what else runs in it."""

    kind: str
    """ "nursery", "TaskGroup" or "gather"."""
    owner: TaskName | None
    others: tuple[Alike, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "owner": self.owner and self.owner.as_dict(),
            "others": [alike.as_dict() for alike in self.others],
        }


# ---- what it is called -----------------------------------------------------------------------------------------------


_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_next_number = itertools.count(1)


def id_of(task: asyncio.Task[Any]) -> int:
    """A number that no other task of the process has: the record's, if there is one."""
    if (log := _record()) is not None and (number := log.id_of(task)):
        return int(number)
    try:
        number = _numbers.get(task)
        if number is None:
            number = _numbers[task] = next(_next_number)
    except TypeError:  # a task of somebody's own that can't be referred to weakly
        return id(task)
    return number


def name_of(task: asyncio.Task[Any]) -> TaskName:
    return TaskName(id_of(task), safely(task.get_name, "no name"), coroutine_name(task))


def coroutine_name(task: asyncio.Task[Any]) -> str:
    def name() -> Any:
        coroutine: Any = task.get_coro()
        return getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__

    return safely(name, "no coroutine")


def state_of(task: asyncio.Task[Any]) -> str:
    """ "running", "ready", "waiting", "finished", "failed" or "cancelled": the words of recordings."""
    if task.done():
        # Not `exception()`: that would say that somebody has asked for it.
        return "cancelled" if task.cancelled() else "failed" if failure_of(task) is not None else "finished"
    if task is _current(task):
        return "running"
    return "ready" if getattr(task, "_fut_waiter", None) is None else "waiting"


def failure_of(task: asyncio.Future[Any]) -> BaseException | None:
    """A finished task's exception; nobody has asked for it by that."""
    exception = getattr(task, "_exception", None)
    return exception if isinstance(exception, BaseException) else None


def _current(task: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task(task.get_loop())
    except RuntimeError:
        return None


def current() -> asyncio.Task[Any] | None:
    """The task that runs now in this thread, if one does."""
    if asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()


# ---- who started it --------------------------------------------------------------------------------------------------


_MACHINERY = {"_Run.init"}
"""Coroutines that `segue.trio.run` runs the program in."""
_log: Any = None


def record_starts() -> None:
    """Record of every loop made from now on who starts its tasks, and where."""
    global _log
    _log = _core._record_every_loop()


def _record() -> Any:
    return _log


def is_recorded() -> bool:
    return _log is not None


def is_in_record(task: int) -> bool:
    """Whether the number is one of the record's: those of loops begin at 1 << 40."""
    return task >> 40 != 0


def recorded_starts(task: int) -> list[Start]:
    """Who started the task with that id, who started that one, and so on: as far as the record knows."""
    found: list[Start] = []
    log = _record()
    entry = log.task(task) if log is not None else None
    while entry is not None and len(found) < MOST_ANCESTORS:
        parent = log.task(entry["parent"]) if entry["parent"] else None
        if parent is not None and parent["coroutine"] in _MACHINERY:
            parent = None
        by = TaskName(parent["id"], parent["name"], parent["coroutine"]) if parent else None
        place = _place_of_words(entry["site"])
        if by is None and place is None:
            break
        found.append(Start(by, place))
        entry = parent
    return found


def _place_of_words(words: str) -> Place | None:
    """Of the record's "file:line function"."""
    file_and_line, _, function = words.rpartition(" ")
    file, _, line = file_and_line.rpartition(":")
    return Place(file, int(line), function, library_of(file)) if line.isdecimal() else None


def starts_of(task: asyncio.Task[Any]) -> list[Start]:
    """Who started it, who started that one, and so on."""
    if starts := recorded_starts(id_of(task)):
        return starts
    found: list[Start] = []
    seen = set()
    at: asyncio.Task[Any] | None = task
    while at is not None and id(at) not in seen and len(found) < MOST_ANCESTORS:
        seen.add(id(at))
        group = belonging_of(at)
        owner = group.owner if group is not None else None
        place = own_line(_debug_places(at))
        if owner is None and place is None:
            break
        found.append(Start(name_of(owner) if owner is not None else None, place))
        at = owner
    return found


def _debug_places(task: asyncio.Task[Any]) -> list[Place]:
    """Where it was made, outermost first: debug mode keeps that."""
    stack = getattr(task, "_source_traceback", None) or ()
    return [Place(entry.filename, entry.lineno or 0, entry.name, library_of(entry.filename)) for entry in stack]


# ---- where it is -----------------------------------------------------------------------------------------------------


def stack_of(task: asyncio.Task[Any]) -> list[Place]:
    """The frames of a task that hasn't ended, outermost first."""
    coroutine: Any = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    if frame is not None and task is _current(task) and asyncio._get_running_loop() is task.get_loop():
        running = of_callers(sys._getframe(1), frame)
        while running and running[-1].file.startswith(_HERE):
            running.pop()
        return running
    return of_coroutine(coroutine)


_HERE = __file__.rpartition("/")[0] + "/"


def waits_for(task: asyncio.Task[Any], stack: list[Place]) -> str:
    """In words, "" if it doesn't wait: the library's function that waits, as in "Queue.get", else what is awaited."""
    awaited = getattr(task, "_fut_waiter", None)
    if awaited is None:
        return ""
    if isinstance(awaited, asyncio.Task):
        return f"task '{safely(awaited.get_name, 'no name')}'"
    if type(awaited) is _core.Wait:
        return repr_of(awaited).strip("<>").partition(",")[0]
    if isinstance(awaited, asyncio.Future) and (children := getattr(awaited, "_children", None)):
        if len(children) > MOST_COUNTED:
            return f"gather of {len(children):,}"
        left = sum(not child.done() for child in children)
        return f"gather: {left} of {len(children)}"
    own = max((number for number, place in enumerate(stack) if place.package is None), default=-1)
    inside = (place.function for place in stack[own + 1 :])
    # `async with lock` waits for Lock.acquire.
    called = next((function for function in inside if not function.startswith("_ContextManagerMixin.")), "")
    if called:
        return called
    return "a future" if isinstance(awaited, asyncio.Future) else type(awaited).__qualname__


def wait_of(task: asyncio.Task[Any]) -> Wait:
    stack = stack_of(task)
    return Wait(name_of(task), own_line(stack), waits_for(task, stack))


def waits_down(task: asyncio.Task[Any]) -> tuple[list[Wait], bool]:
    """The tasks that it waits for, one behind the other; and whether they go in a circle."""
    found: list[Wait] = []
    seen = {id(task)}
    at: Any = getattr(task, "_fut_waiter", None)
    while isinstance(at, asyncio.Task) and not at.done() and len(found) < MOST_AWAITING:
        found.append(wait_of(at))
        if id(at) in seen:
            return found, True
        seen.add(id(at))
        at = getattr(at, "_fut_waiter", None)
    return found, False


# ---- who awaits it ---------------------------------------------------------------------------------------------------


def awaited_by(task: asyncio.Future[Any]) -> list[asyncio.Task[Any]]:
    """The tasks that go on when it is done: directly, or through `gather`, `wait`, a group or a nursery."""
    found: list[asyncio.Task[Any]] = []
    seen = {id(task)}
    left: list[asyncio.Future[Any]] = [task]
    while left and len(found) < MOST_AWAITING:
        at = left.pop()
        for other in _wakes(at):
            if id(other) in seen or other.done():
                continue
            seen.add(id(other))
            if isinstance(other, asyncio.Task):
                if coroutine_name(other) not in _MACHINERY:
                    found.append(other)
            else:
                left.append(other)
    return found


def _wakes(future: asyncio.Future[Any]) -> Iterator[asyncio.Future[Any]]:
    """Tasks and futures that are told when it is done."""
    nursery = getattr(future, "parent_nursery", None)
    if nursery is not None:
        yield nursery.parent_task
    for callback in _callbacks(future):
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Future):
            yield owner
        elif isinstance(callback, MethodType) and isinstance(owner, asyncio.TaskGroup):
            parent = getattr(owner, "_parent_task", None)
            if parent is not None:
                yield parent
        elif isinstance(callback, FunctionType) and library_of(callback.__code__.co_filename) == "asyncio":
            for value in _captured(callback).values():
                if isinstance(value, asyncio.Future):
                    yield value


def _callbacks(future: asyncio.Future[Any]) -> list[Any]:
    found = []
    for callback, _ in getattr(future, "_callbacks", None) or ():
        while isinstance(callback, functools.partial):
            callback = callback.func
        found.append(callback)
    return found


def _captured(function: FunctionType) -> dict[str, Any]:
    """The variables of its closure that have a value."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


# ---- what runs beside it ---------------------------------------------------------------------------------------------


class Belonging(NamedTuple):
    kind: str
    """As in Group."""
    anchor: Any
    """What all its tasks have in common: the nursery, the group, the future of `gather`."""
    owner: asyncio.Task[Any] | None
    tasks: Callable[[], Iterable[Any]]
    """All of them: there may be many, and who asks for one task's owner wants none."""


def belonging_of(task: asyncio.Task[Any]) -> Belonging | None:
    """The nursery, task group or `gather` that a task which hasn't ended belongs to."""
    nursery = getattr(task, "parent_nursery", None)
    if nursery is not None:
        return Belonging("nursery", nursery, nursery.parent_task, lambda: nursery.child_tasks)
    for callback in _callbacks(task):
        owner: Any = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.TaskGroup):
            parent = getattr(owner, "_parent_task", None)
            return Belonging("TaskGroup", owner, parent, functools.partial(getattr, owner, "_tasks", ()))
        if isinstance(callback, FunctionType) and callback.__qualname__ == "gather.<locals>._done_callback":
            captured = _captured(callback)
            outer = captured.get("outer")
            if outer is not None:
                parent = next(iter(awaited_by(outer)), None)
                return Belonging("gather", outer, parent, functools.partial(list, captured.get("children", ())))
    return None


def group_of(task: asyncio.Task[Any], known: weakref.WeakSet[Any] | None = None) -> Group | None:
    """What it belongs to, and what the others in that do now.

    Of a group that is in `known` the others aren't looked at: when thousands fail alike, they would be thousands of
    times. It is in `known` afterwards.
    """
    found = belonging_of(task)
    if found is None:
        return None
    owner = name_of(found.owner) if found.owner is not None else None
    if known is not None:
        if found.anchor in known:
            return Group(found.kind, owner, ())
        known.add(found.anchor)
    others = (t for t in list(found.tasks()) if t is not task and isinstance(t, asyncio.Task) and not t.done())
    return Group(found.kind, owner, tuple(alike(itertools.islice(others, MOST_BESIDES))))


def alike(tasks: Iterable[asyncio.Task[Any]]) -> list[Alike]:
    """Tasks with the same coroutine, state and place are one entry. In an order that doesn't depend on a set's."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for task in tasks:
        stack = stack_of(task)
        key = (coroutine_name(task), state_of(task), own_line(stack), waits_for(task, stack))
        found.setdefault(key, []).append(safely(task.get_name, "no name"))
    entries = []
    for key, names in found.items():
        names.sort(key=lambda name: (len(name), name))  # "page 9" before "page 10"
        entries.append(Alike(tuple(names[:MOST_NAMES]), len(names), *key))
    return sorted(entries, key=lambda entry: (-entry.count, entry.names))
