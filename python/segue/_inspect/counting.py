"""Figures of the recording that runs, which are counted from the first question on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from .. import _core
from .._explain.places import Place


class Described(NamedTuple):
    """A task, as the core takes it: numbers for tasks and nurseries, "file:line function" for places."""

    key: int
    parent: int
    name: str
    coroutine: str
    started_at: str
    nursery: int
    nurseries: list[int]
    waits_for: int
    what: str
    waits_at: str


def place_in_words(place: Place | None) -> str:
    return "" if place is None else f"{place.file}:{place.line} {place.function}"


def place_of_answer(found: dict[str, Any] | None) -> Place | None:
    from .._explain.places import library_of

    if found is None:
        return None
    return Place(found["file"], found["line"], found["function"], library_of(found["file"]))


def ask(question: str, **arguments: Any) -> tuple[Any, float] | None:
    """The answer, and for how many seconds figures have been counted. None without a recording."""
    found = _core._figures(question, json.dumps(arguments))
    return None if found is None else (json.loads(found[0]), found[1])


class Figures(NamedTuple):
    """Of one task."""

    state: str
    """When the recording's thread last looked."""
    since: float | None
    busy: float
    steps: int
    wakes: int
    parent: str
    parent_name: str
    started_at: Place | None


def of_tasks() -> dict[str, Figures]:
    """By their number in the recording: of the tasks that are alive. Empty without a recording."""
    found = ask("tasks", filter={"state": ["pending"]}, limit=1 << 30)
    if found is None:
        return {}
    answer, seconds = found
    return {task["id"]: _figures(task, seconds) for task in answer["tasks"]}


def _figures(task: dict[str, Any], seconds: float) -> Figures:
    since = task["since"] / 1e9
    # What was there when counting began had been in its state for nobody knows how long.
    is_known = task["since"] > 0
    return Figures(
        state=task["state"],
        since=max(0.0, seconds - since) if is_known else None,
        busy=task["busy"] / 1e9,
        steps=task["steps"],
        wakes=task["wakes"],
        parent=task["parent"] or "",
        parent_name=task["parent_name"] or "",
        started_at=place_of_answer(task["started_at"]),
    )


def key_in_words(key: int) -> str:
    """ "1.17", as recordings have it."""
    return f"{key >> 40}.{key & ((1 << 40) - 1)}" if key else ""


def begin_if_possible(describe: Any) -> None:
    """Count from now on, if a recording runs: `describe()` gives the loops and tasks that there are."""
    if _core._can_count() and not _core._is_counting() and not _core._count_from_memory():
        loops, tasks = describe()
        _core._begin_counting(list(loops), list(tasks))


def described_loops(loops: Iterable[Any]) -> list[tuple[int, str, bool]]:
    return [(loop.number, loop.thread, loop.is_running) for loop in loops]
