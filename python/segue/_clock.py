"""The clocks of `segue.trio.run`: what a program may put in the place of the loop's own.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#trio.abc.Clock
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any


class Clock(ABC):
    """What `segue.trio.run(..., clock=...)` takes: where timeouts and `current_time()` get their time from."""

    __slots__ = ()

    @abstractmethod
    def start_clock(self) -> None:
        """Called once, before the run begins."""

    @abstractmethod
    def current_time(self) -> float:
        """The time, in seconds since a moment of the clock's own choice."""

    @abstractmethod
    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How many real seconds the loop may sleep until the clock shows `deadline`, if nothing else happens."""


class LoopClock(Clock):
    """The clock of a loop that was given none: the loop's own time, in real seconds."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._loop.time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return max(0.0, deadline - self._loop.time())


def current_clock() -> Clock:
    """The clock of the running loop. RuntimeError outside of a run."""
    loop: Any = asyncio.get_running_loop()
    clock: Clock | None = vars(loop).get("_clock")
    if clock is None:
        clock = vars(loop)["_clock"] = LoopClock(loop)
    return clock
