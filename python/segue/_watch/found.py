"""Warnings as objects: what `segue.inspect.warnings()` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import _recording
from .._explain.places import Place, library_of


@dataclass(frozen=True)
class Warning:
    """Something that looks wrong, as a linter would say it."""

    code: str
    """What kind it is, such as "deadlock": docs/howto/warnings.md has them all."""
    title: str
    text: str
    """What happened, in one or two sentences that name tasks and places."""
    cure: str
    """What to write instead."""
    task: str | None
    """The name of the task that it is about."""
    place: Place | None
    seconds: float
    """When it was noticed, from the recording's beginning."""
    count: int
    """How often."""


def warnings() -> list[Warning]:
    """What looks wrong in this process so far, in the order in which it was noticed.

    Raises RuntimeError if no recording runs.
    """
    if not _recording._running:
        raise RuntimeError(
            "no recording runs: start one with segue.record(), segue run --warn or segue run --record FILE"
        )
    return [_warning(found) for found in _recording._running[-1]._warnings()]


def _warning(found: dict[str, Any]) -> Warning:
    at = found["place"]
    place = None if at is None else Place(at["file"], at["line"], at["function"], library_of(at["file"]))
    return Warning(
        code=found["code"],
        title=found["title"],
        text=found["text"],
        cure=found["cure"],
        task=found["name"],
        place=place,
        seconds=found["at"] / 1e9,
        count=found["count"],
    )
