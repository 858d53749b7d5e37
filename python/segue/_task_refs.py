"""What `asyncio.all_tasks()` reads, filled when it is read.

asyncio keeps a WeakSet of all tasks, to which every task adds a weak reference when it is created. Segue's tasks are in
a list of the Rust core instead, which costs next to nothing; this set takes them over when somebody looks. It replaces
the set inside asyncio's WeakSet when the first task of Segue is created, never on import.
"""

from __future__ import annotations

import asyncio.tasks
import weakref
from collections.abc import Iterator
from typing import Any

from . import _core


class TaskRefs(set[Any]):
    """The weak references of all tasks; looking at it adds those of Segue's that were not looked at before."""

    __slots__ = ("_remove",)
    _remove: Any
    """asyncio's callback for a reference whose task is gone."""

    def fill(self) -> None:
        for task in _core._take_unlisted_tasks():
            set.add(self, weakref.ref(task, self._remove))

    def __iter__(self) -> Iterator[Any]:
        self.fill()
        return set.__iter__(self)

    def __len__(self) -> int:
        self.fill()
        return set.__len__(self)

    def __contains__(self, item: object) -> bool:
        self.fill()
        return set.__contains__(self, item)

    def copy(self) -> set[Any]:
        self.fill()
        return set(set.__iter__(self))


def install() -> None:
    """Called once, by the core, before its first task is listed."""
    tasks: Any = getattr(asyncio.tasks, "_scheduled_tasks", None)
    if tasks is None:  # 3.11
        tasks = asyncio.tasks._all_tasks  # type: ignore[attr-defined]
    refs = TaskRefs(tasks.data)
    refs._remove = tasks._remove
    tasks.data = refs
