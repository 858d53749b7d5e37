"""What `asyncio.all_tasks()` reads, filled when it is read.

asyncio keeps a WeakSet of all tasks, to which every task adds a weak reference when it is created. Segue's tasks are in
a list of the Rust core instead, which costs next to nothing; this set takes them over when somebody looks. It replaces
the set inside asyncio's WeakSet when the first task of Segue is created, never on import. From 3.14 on asyncio keeps
its tasks in a list itself, and there is only one reason to know that somebody looks: tasks of nurseries that have not
begun are made only then (see `structured/start.rs`).
"""

from __future__ import annotations

import asyncio.tasks
import sys
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


def install() -> bool:
    """Called once by the core, before its first task is listed or noted. False: looking can't be noticed here."""
    tasks = _all_refs()
    if tasks is None:
        return False
    refs = TaskRefs(tasks.data)
    refs._remove = tasks._remove
    tasks.data = refs
    return True


def _all_refs() -> Any:
    """The WeakSet of tasks that `asyncio.all_tasks()` looks at; None if it can't be found."""
    private: Any = asyncio.tasks
    if sys.version_info < (3, 12):
        return private._all_tasks
    if sys.version_info < (3, 14):
        return private._scheduled_tasks
    # From 3.14 on it is a variable of the C module. What is registered gets a weak reference in it, whose callback
    # knows it.
    probe = _Probe()
    asyncio._register_task(probe)
    try:
        (ref,) = weakref.getweakrefs(probe)
        tasks = ref.__callback__.__defaults__[0]()
    except (ValueError, AttributeError, TypeError, IndexError):
        return None
    finally:
        asyncio._unregister_task(probe)
    return tasks if isinstance(tasks, weakref.WeakSet) else None


class _Probe:
    """Stands for a task for a moment."""
