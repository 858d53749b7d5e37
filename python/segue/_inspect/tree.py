"""`tree()`: the tasks that are alive, each below the one whose nursery or group it belongs to, or that started it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._explain.words import one_line, printable
from .tasks import LoopName, TaskInfo, tasks


@dataclass(frozen=True)
class Branch:
    """A task and those below it."""

    task: TaskInfo
    children: tuple[Branch, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**self.task.as_dict(), "children": [child.as_dict() for child in self.children]}


@dataclass(frozen=True)
class LoopTree:
    """A loop and its tasks."""

    loop: LoopName
    branches: tuple[Branch, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"loop": self.loop.as_dict(), "tasks": [branch.as_dict() for branch in self.branches]}


@dataclass(frozen=True)
class Tree:
    """The tasks that were alive when this was made. `str()` of it is `text()`."""

    loops: tuple[LoopTree, ...]

    def text(self, *, most: int = 500) -> str:
        """For people, a line for each task, and at most so many of them."""
        lines: list[str] = []
        for loop in self.loops:
            in_thread = f"in thread {loop.loop.thread}" if loop.loop.is_running else "not running"
            lines.append(f"loop {loop.loop.number}, {in_thread}")
            lines += _lines(loop.branches, "")
        shown = lines[:most]
        if len(lines) > most:
            shown.append(f"... and {len(lines) - most:,} more lines")
        return "\n".join(shown)

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`: strings, numbers, lists and dicts."""
        return {"loops": [loop.as_dict() for loop in self.loops]}

    def __str__(self) -> str:
        return self.text()


def tree() -> Tree:
    """The tasks of all loops as trees; `str()` of it is text. Which tasks these are is said of `segue.inspect.tasks`.

    A task is below the one whose nursery, task group or `gather` it belongs to, else below the one that started it,
    where that is known and alive.
    """
    found = tasks()
    below: dict[int, list[TaskInfo]] = {}
    alive = {info.task.id: info for info in found}
    for info in found:
        if (parent := _parent_of(info, alive)) is not None:
            below.setdefault(parent, []).append(info)
    by_loop: dict[LoopName, list[Branch]] = {}
    for info in found:
        if _parent_of(info, alive) is None:
            by_loop.setdefault(info.loop, []).append(_branch(info, below))
    return Tree(tuple(LoopTree(loop, tuple(branches)) for loop, branches in by_loop.items()))


def _parent_of(info: TaskInfo, alive: dict[int, TaskInfo]) -> int | None:
    """None for what is at the top: also where parents go in a circle, or are too many to be drawn."""
    first = info.parent.id if info.parent is not None and info.parent.id in alive else None
    at, seen = first, {info.task.id}
    while at is not None:
        if at in seen or len(seen) > DEEPEST:
            return None
        seen.add(at)
        above = alive[at].parent
        at = above.id if above is not None and above.id in alive else None
    return first


DEEPEST = 100


def _branch(info: TaskInfo, below: dict[int, list[TaskInfo]]) -> Branch:
    children = sorted(below.get(info.task.id, ()), key=lambda child: child.group or "~")
    return Branch(info, tuple(_branch(child, below) for child in children))


def _lines(branches: tuple[Branch, ...], indent: str) -> Iterator[str]:
    for number, branch in enumerate(branches):
        is_last = number + 1 == len(branches)
        yield f"{indent}{'└─ ' if is_last else '├─ '}{_line(branch.task)}"
        yield from _lines(branch.children, indent + ("   " if is_last else "│  "))


def _line(info: TaskInfo) -> str:
    name = printable(one_line(info.task.name))
    marks = "".join(f", {mark}" for mark in _marks(info))
    at = f" at {info.place}" if info.place is not None else ""
    doing = f"waits for {one_line(info.waits_for)}" if info.waits_for else info.state
    return printable(f"{name} ({info.task.coroutine}{marks}): {doing}{at}{_for_how_long(info)}")


def _marks(info: TaskInfo) -> Iterator[str]:
    if info.group is not None:
        yield f"in a {info.group}"
    if info.is_system:
        yield "system task"
    if not info.has_begun:
        yield "not begun"


def _for_how_long(info: TaskInfo) -> str:
    return "" if info.since is None else f", for {info.since:.3g} s"
