"""`tasks()`: a record for each task that is alive, of all loops of Segue's and of the asyncio loop that runs here."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .. import _core
from .._explain.places import Place, own_line
from .._explain.tasks import Start, TaskName, belonging_of, name_of, stack_of, starts_of, state_of, waits_for
from . import counting
from .counting import Described, Figures, key_in_words, place_in_words


@dataclass(frozen=True)
class LoopName:
    """An event loop."""

    number: int
    """As in recordings, if one runs; else its place among the loops of this answer, from 1."""
    thread: str
    """The name of the thread that it runs in, "" if it doesn't run."""
    is_running: bool

    def as_dict(self) -> dict[str, Any]:
        return {"number": self.number, "thread": self.thread, "is_running": self.is_running}


@dataclass(frozen=True)
class TaskInfo:
    """A task that is alive, as it was when this was made. It keeps nothing of the program alive.

    What isn't known is None, never a guess. `since`, `busy`, `steps` and `wakes` need a recording
    (`segue.inspect.tasks` says which), and are as old as its thread's last look, a few hundredths of a second.
    """

    task: TaskName
    """What it is called; its `id` is the one in logs."""
    recorded_as: str
    """Its number in recordings, such as "1.17"; "" if none runs."""
    state: str
    """ "running", "ready" or "waiting"."""
    has_begun: bool
    """Whether it has run at all."""
    is_system: bool
    """Whether it is a system task (`segue.lowlevel.spawn_system_task`)."""
    loop: LoopName
    started: Start | None
    """Who started it and where. A task that has ended since has the id 0."""
    group: str | None
    """ "nursery", "TaskGroup" or "gather", if it belongs to one."""
    parent: TaskName | None
    """The task whose nursery, group or `gather` it belongs to, else the one that started it, if that is alive."""
    waits_for: str
    """In words, "" if it doesn't wait."""
    awaits: TaskName | None
    """The task that it waits for."""
    place: Place | None
    """The program's line that it is at."""
    since: float | None
    """For how many seconds it has been in its state."""
    busy: float | None
    """How many seconds it has run, since figures are counted."""
    steps: int | None
    """How often it has run, since figures are counted."""
    wakes: int | None
    """How often it was woken, since figures are counted."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.task.as_dict(),
            "recorded_as": self.recorded_as,
            "state": self.state,
            "has_begun": self.has_begun,
            "is_system": self.is_system,
            "loop": self.loop.as_dict(),
            "started": self.started and self.started.as_dict(),
            "group": self.group,
            "parent": self.parent and self.parent.as_dict(),
            "waits_for": self.waits_for,
            "awaits": self.awaits and self.awaits.as_dict(),
            "place": self.place and self.place.as_dict(),
            "since": self.since,
            "busy": self.busy,
            "steps": self.steps,
            "wakes": self.wakes,
        }


def tasks() -> list[TaskInfo]:
    """All tasks that are alive: of every loop of Segue's in this process, whatever its thread, and of the asyncio loop
    that runs in this thread.

    Tasks of nurseries, of task groups and of nobody, those that have not begun, and system tasks. Works without a
    recording; with `segue.record(path)` or `segue.flight` running, who started a task is known of those that were
    started meanwhile, and figures are counted from the first call of `tasks`, `tree`, `graph`, `stats` or `metrics` on.
    """
    return Seen().infos()


class Loop:
    """A loop and its tasks, while an answer is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, threads: dict[int | None, str]) -> None:
        ident = getattr(loop, "_thread_id", None)
        is_running = loop.is_running()
        thread = threads.get(ident, "") if is_running else ""
        self.loop = loop
        self.name = LoopName(_core._number_of_loop(loop) or number, thread, is_running)
        self.tasks: list[asyncio.Task[Any]] = [task for task in asyncio.all_tasks(loop) if not task.done()]
        self.system: set[Any] = getattr(loop, "__dict__", {}).get("_system_tasks") or set()


def loops() -> list[Loop]:
    found: list[asyncio.AbstractEventLoop] = [loop for loop in _core._all_loops() if not loop.is_closed()]
    here = asyncio._get_running_loop()
    if here is not None and here not in found:
        found.append(here)
    threads: dict[int | None, str] = {thread.ident: thread.name for thread in threading.enumerate()}
    return [Loop(loop, number, threads) for number, loop in enumerate(found, 1)]


class Seen:
    """What there is now: loops, tasks, and what belongs to each."""

    def __init__(self) -> None:
        self.loops = loops()
        counting.begin_if_possible(self._described_for_recording)

    @functools.cached_property
    def keys(self) -> dict[int, int]:
        """Of tasks, by their address, in the recording that runs."""
        return {id(task): _core._key_of_task(task) for loop in self.loops for task in loop.tasks}

    def infos(self) -> list[TaskInfo]:
        figures = counting.of_tasks()
        by_key = {key_in_words(self.keys[id(task)]): task for loop in self.loops for task in loop.tasks}
        return [
            _info(task, loop, self.keys[id(task)], figures, by_key) for loop in self.loops for task in loop.tasks
        ]

    def _described_for_recording(self) -> tuple[Any, Any]:
        in_it = [loop for loop in self.loops if _core._number_of_loop(loop.loop)]
        keys = {number: key for number, key in self.keys.items() if key}
        all_tasks = (task for loop in in_it for task in loop.tasks if id(task) in keys)
        return counting.described_loops(loop.name for loop in in_it), describe(all_tasks, keys)

    def described(self) -> tuple[Any, Any]:
        """For a picture without a recording: numbers of our own, from the top down."""
        keys: dict[int, int] = {}
        for loop in self.loops:
            for number, task in enumerate(_parents_first(loop.tasks), 1):
                keys[id(task)] = loop.name.number << 40 | number
        all_tasks = (task for loop in self.loops for task in loop.tasks)
        return counting.described_loops(loop.name for loop in self.loops), describe(all_tasks, keys)


def _parents_first(found: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    order: dict[int, asyncio.Task[Any]] = {}
    for task in found:
        chain: dict[int, asyncio.Task[Any]] = {}
        at: asyncio.Task[Any] | None = task
        while at is not None and id(at) not in order and id(at) not in chain:
            chain[id(at)] = at
            at = _owner_of(at)
        order.update(reversed(chain.items()))
    alive = {id(task) for task in found}
    return [task for number, task in order.items() if number in alive]


def _owner_of(task: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
    group = belonging_of(task)
    return None if group is None else group.owner


def describe(found: Iterable[asyncio.Task[Any]], keys: dict[int, int]) -> list[Described]:
    return [_described(task, keys) for task in found]


def _described(task: asyncio.Task[Any], keys: dict[int, int]) -> Described:
    name, stack = name_of(task), stack_of(task)
    group = belonging_of(task)
    start = next(iter(starts_of(task)), None)
    awaited = _awaited(task)
    nursery = getattr(task, "parent_nursery", None)
    waits_at = own_line(stack) if state_of(task) == "waiting" else None
    return Described(
        key=keys[id(task)],
        parent=keys.get(id(group.owner), 0) if group is not None and group.owner is not None else 0,
        name=name.name,
        coroutine=name.coroutine,
        started_at=place_in_words(start.place if start is not None else None),
        # The number that the core gives to its scope.
        nursery=0 if nursery is None else id(nursery.cancel_scope),
        nurseries=[id(nursery.cancel_scope) for nursery in getattr(task, "child_nurseries", ())],
        waits_for=0 if awaited is None else keys.get(id(awaited), 0),
        what=waits_for(task, stack),
        waits_at=place_in_words(waits_at),
    )


def _awaited(task: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
    awaited = getattr(task, "_fut_waiter", None)
    return awaited if isinstance(awaited, asyncio.Task) else None


def _has_begun(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    return not (inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED)


def _info(
    task: asyncio.Task[Any],
    loop: Loop,
    key: int,
    figures: dict[str, Figures],
    by_key: dict[str, asyncio.Task[Any]],
) -> TaskInfo:
    stack = stack_of(task)
    mine = figures.get(key_in_words(key))
    group = belonging_of(task)
    start = next(iter(starts_of(task)), None)
    starter = by_key.get(mine.parent) if mine is not None and mine.parent else None
    if (start is None or start.place is None or start.task is None) and mine is not None:
        by = start.task if start is not None else None
        if by is None and mine.parent:
            by = name_of(starter) if starter is not None else TaskName(0, mine.parent_name, "")
        start = Start(by, (start.place if start is not None else None) or mine.started_at)
        if start.task is None and start.place is None:
            start = None
    owner = group.owner if group is not None and group.owner is not None else starter
    awaited = _awaited(task)
    state = state_of(task)
    return TaskInfo(
        task=name_of(task),
        recorded_as=key_in_words(key),
        state=state,
        has_begun=_has_begun(task),
        is_system=task in loop.system,
        loop=loop.name,
        started=start,
        group=None if group is None else group.kind,
        parent=None if owner is None or owner.done() else name_of(owner),
        waits_for=waits_for(task, stack),
        awaits=None if awaited is None else name_of(awaited),
        place=own_line(stack),
        since=mine.since if mine is not None and mine.state == state else None,
        busy=None if mine is None else mine.busy,
        steps=None if mine is None else mine.steps,
        wakes=None if mine is None else mine.wakes,
    )
