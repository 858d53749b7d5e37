"""`metrics()`: the stats in the text format that Prometheus and its like read.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._explain.places import short
from .stats import CodeStats, LoopStats, Spread, stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(*, code: int = 50) -> str:
    """The state of the loops as Prometheus reads it: the body of a `/metrics` route, whose content type is
    `segue.inspect.METRICS_CONTENT_TYPE`.

    Always there: `segue_tasks_waiting`, `segue_ready_queue`, `segue_timers` by loop and thread.

    While `segue.record(path)` or `segue.flight` runs, also `segue_turns_total`, `segue_jobs_total`,
    `segue_busy_seconds_total`, `segue_idle_seconds_total`, `segue_longest_turn_seconds`, `segue_lost_events_total` and
    the histogram `segue_lag_seconds` (from when a task could run to when it ran), and by coroutine and place, of the
    `code` busiest: `segue_code_tasks`, `segue_code_started_total`, `segue_code_ended_total` (by outcome),
    `segue_code_steps_total`, `segue_code_busy_seconds_total`, `segue_code_longest_step_seconds`. They count from the
    first call on.
    """
    found = stats()
    out = _Text()
    out.loops(found.loops)
    if found.counted_for is not None:
        out.family("segue_counted_seconds", "gauge", "For how long the totals have been counted.")
        out.sample("segue_counted_seconds", {}, found.counted_for)
        out.code(_different(found.code)[:code])
    return out.text()


class _Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def family(self, name: str, kind: str, help_: str) -> None:
        self._lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]

    def sample(self, name: str, labels: dict[str, str], value: float) -> None:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        self._lines.append(f"{name}{{{shown}}} {value!r}" if shown else f"{name} {value!r}")

    def each(
        self,
        name: str,
        kind: str,
        help_: str,
        things: Iterable[Any],
        labels: Callable[[Any], dict[str, str]],
        value: Callable[[Any], float | None],
    ) -> None:
        samples = [(labels(thing), value(thing)) for thing in things]
        if any(number is not None for _, number in samples):
            self.family(name, kind, help_)
        for names, number in samples:
            if number is not None:
                self.sample(name, names, number)

    def loops(self, loops: tuple[LoopStats, ...]) -> None:
        for name, kind, help_, value in _OF_LOOPS:
            self.each(name, kind, help_, loops, _of_loop, value)
        lags = [(loop, loop.lag) for loop in loops if loop.lag is not None]
        if lags:
            self.family("segue_lag_seconds", "histogram", "From when a task could run to when it ran.")
        for loop, lag in lags:
            self._histogram("segue_lag_seconds", _of_loop(loop), lag)

    def _histogram(self, name: str, labels: dict[str, str], spread: Spread) -> None:
        for seconds, count in (*spread.shorter_than, (float("inf"), spread.count)):
            le = "+Inf" if seconds == float("inf") else repr(seconds)
            self.sample(f"{name}_bucket", {**labels, "le": le}, count)
        self.sample(f"{name}_sum", labels, spread.total)
        self.sample(f"{name}_count", labels, spread.count)

    def code(self, code: list[CodeStats]) -> None:
        for name, kind, help_, value in _OF_CODE:
            self.each(name, kind, help_, code, _of_code, value)
        name = "segue_code_ended_total"
        self.family(name, "counter", "Tasks that have ended.")
        for each in code:
            for outcome in ("finished", "failed", "cancelled"):
                self.sample(name, {**_of_code(each), "outcome": outcome}, getattr(each, outcome) or 0)


_OF_LOOPS: list[tuple[str, str, str, Callable[[LoopStats], float | None]]] = [
    ("segue_tasks_waiting", "gauge", "Tasks that wait for something.", lambda loop: loop.waiting),
    ("segue_ready_queue", "gauge", "Tasks and callbacks that stand in the queue to be run.", lambda loop: loop.ready),
    ("segue_timers", "gauge", "Timers.", lambda loop: loop.timers),
    ("segue_turns_total", "counter", "Turns of the loop.", lambda loop: loop.turns),
    ("segue_jobs_total", "counter", "Steps of tasks and callbacks that have run.", lambda loop: loop.jobs),
    ("segue_busy_seconds_total", "counter", "Time in turns.", lambda loop: loop.busy),
    ("segue_idle_seconds_total", "counter", "Time between turns.", lambda loop: loop.waited),
    ("segue_longest_turn_seconds", "gauge", "The longest turn.", lambda loop: loop.longest_turn),
    ("segue_lost_events_total", "counter", "Events that were not counted, for lack of room.", lambda loop: loop.lost),
]

_OF_CODE: list[tuple[str, str, str, Callable[[CodeStats], float | None]]] = [
    ("segue_code_tasks", "gauge", "Tasks that are alive.", lambda code: code.alive),
    ("segue_code_started_total", "counter", "Tasks that were started.", lambda code: code.started),
    ("segue_code_steps_total", "counter", "Steps of tasks.", lambda code: code.steps),
    ("segue_code_busy_seconds_total", "counter", "Time in steps.", lambda code: code.busy),
    ("segue_code_longest_step_seconds", "gauge", "The longest step.", lambda code: code.longest_step),
]


def _different(code: tuple[CodeStats, ...]) -> list[CodeStats]:
    """Those that would have the same labels, such as two functions on one line, are one: a series is there once."""
    found: dict[tuple[str, ...], CodeStats] = {}
    for each in code:
        labels = tuple(_of_code(each).values())
        known = found.get(labels)
        found[labels] = each if known is None else _sum(known, each)
    return list(found.values())


def _sum(one: CodeStats, other: CodeStats) -> CodeStats:
    def total(name: str) -> Any:
        return (getattr(one, name) or 0) + (getattr(other, name) or 0)

    return CodeStats(
        one.coroutine,
        one.place,
        longest_step=max(one.longest_step or 0, other.longest_step or 0),
        **{
            name: total(name)
            for name in ("alive", "started", "finished", "failed", "cancelled", "steps", "busy", "wakes")
        },
    )


def _of_loop(loop: LoopStats) -> dict[str, str]:
    return {"loop": str(loop.loop.number), "thread": loop.loop.thread}


def _of_code(code: CodeStats) -> dict[str, str]:
    place = "" if code.place is None else f"{short(code.place.file)}:{code.place.line}"
    return {"coroutine": code.coroutine, "place": place}


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
