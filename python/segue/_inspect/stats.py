"""`stats()`: what the loops and the code in them have done."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from .._explain.places import Place
from .._explain.tasks import coroutine_name, state_of
from . import counting
from .tasks import Loop, LoopName, Seen


@dataclass(frozen=True)
class Spread:
    """How often something was, and how long it took, in seconds. `p50` and `p99` are right to the next power of two."""

    count: int
    total: float
    p50: float
    p99: float
    longest: float
    shorter_than: tuple[tuple[float, int], ...] = ()
    """How often it took less than so many seconds."""


@dataclass(frozen=True)
class LoopStats:
    """A loop. What follows `timers` is None without a recording."""

    loop: LoopName
    waiting: int
    """Tasks."""
    ready: int
    """What stands in the queue to be run: tasks and callbacks."""
    timers: int
    turns: int | None = None
    jobs: int | None = None
    """Steps of tasks and callbacks that have run."""
    busy: float | None = None
    """Seconds in turns."""
    waited: float | None = None
    """Seconds between them."""
    longest_turn: float | None = None
    lag: Spread | None = None
    """From when a task could run to when it ran."""
    lost: int | None = None
    """Events that the recording had no room for."""


@dataclass(frozen=True)
class CodeStats:
    """Tasks of one coroutine function, started at one place. Without a recording only how many are alive is known."""

    coroutine: str
    place: Place | None
    """Where they were started."""
    alive: int
    started: int | None = None
    finished: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    steps: int | None = None
    busy: float | None = None
    """Seconds."""
    longest_step: float | None = None
    wakes: int | None = None


@dataclass(frozen=True)
class Stats:
    """What the loops of this process have done."""

    counted_for: float | None
    """For how many seconds figures have been counted; None if no recording runs."""
    loops: tuple[LoopStats, ...]
    code: tuple[CodeStats, ...]
    """The busiest 200; without a recording, those with the most tasks."""

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`: strings, numbers, lists and dicts."""
        return asdict(self)


def stats() -> Stats:
    """Sums by loop and by code, of every loop of Segue's in this process and of the asyncio loop that runs here.

    Without a recording, what there is at the moment. With `segue.record(path)` or `segue.flight` running, also what has
    been since figures are counted: since the first call of this or of its like in `segue.inspect`.
    """
    seen = Seen()
    found = counting.ask("stats")
    if found is None:
        loops = tuple(_loop(loop, None) for loop in seen.loops)
        return Stats(None, loops, tuple(_alive(seen.loops)))
    answer, seconds = found
    figures = {loop["loop"]: loop for loop in answer["loops"]}
    loops = tuple(_loop(loop, figures.get(loop.name.number)) for loop in seen.loops)
    return Stats(seconds, loops, tuple(_code(code) for code in answer["code"]))


def _loop(loop: Loop, figures: dict[str, Any] | None) -> LoopStats:
    ready, timers = _queue(loop.loop)
    waiting = sum(state_of(task) == "waiting" for task in loop.tasks)
    if figures is None:
        return LoopStats(loop.name, waiting, ready, timers)
    lag = figures["lag"]
    return LoopStats(
        loop.name,
        waiting,
        ready,
        timers,
        turns=figures["turns"],
        jobs=figures["jobs"],
        busy=figures["busy"] / 1e9,
        waited=figures["waited"] / 1e9,
        longest_turn=figures["turn"]["longest"] / 1e9,
        lag=Spread(
            lag["count"],
            lag["total"] / 1e9,
            lag["p50"] / 1e9,
            lag["p99"] / 1e9,
            lag["longest"] / 1e9,
            tuple((nanoseconds / 1e9, count) for nanoseconds, count in lag["shorter_than"]),
        ),
        lost=figures["lost"],
    )


def _queue(loop: Any) -> tuple[int, int]:
    """What is ready, and how many timers there are."""
    if hasattr(loop, "_counts"):
        ready, timers, *_ = loop._counts()
        return ready, timers
    return len(getattr(loop, "_ready", ())), len(getattr(loop, "_scheduled", ()))


def _code(code: dict[str, Any]) -> CodeStats:
    return CodeStats(
        coroutine=code["coroutine"],
        place=counting.place_of_answer(code["place"]),
        alive=code["pending"],
        started=code["started"],
        finished=code["finished"],
        failed=code["failed"],
        cancelled=code["cancelled"],
        steps=code["steps"],
        busy=code["busy"] / 1e9,
        longest_step=code["longest_step"] / 1e9,
        wakes=code["wakes"],
    )


def _alive(loops: list[Loop]) -> list[CodeStats]:
    counted = Counter(coroutine_name(task) for loop in loops for task in loop.tasks)
    return [CodeStats(coroutine, None, count) for coroutine, count in counted.most_common(200)]
