"""A clock that moves only when it is told to, or faster or slower than real time, or by itself when nothing
else can happen.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.MockClock
"""

from __future__ import annotations

import asyncio
import math
import time

from .._clock import Clock

# Longer than any wait, and short enough for every clock and poller.
_NEVER = 999999999.0


class MockClock(Clock):
    """A clock for tests: `segue.trio.run(main, clock=MockClock())`. It starts at 0.

    `rate`: seconds of this clock for each real second; 0 stands still until `jump` is called.
    `autojump_threshold`: once all tasks have waited for so many real seconds, the clock jumps to the next
    deadline; infinity turns that off, and 0 is what tests with timeouts only want. It does not jump while a
    task is in `wait_all_tasks_blocked`. Both can be changed at any time.
    """

    def __init__(self, rate: float = 0.0, autojump_threshold: float = math.inf) -> None:
        self._rate = 0.0
        self._real_clock = time.perf_counter
        self._real_base = self._real_clock()
        self._virtual_base = 0.0
        self._autojump_threshold = 0.0
        self.rate = rate
        self.autojump_threshold = autojump_threshold

    def __repr__(self) -> str:
        return f"<MockClock, time={self.current_time():.7f}, rate={self._rate} @ {id(self):#x}>"

    @property
    def rate(self) -> float:
        return self._rate

    @rate.setter
    def rate(self, new_rate: float) -> None:
        if new_rate < 0:
            raise ValueError("rate must be >= 0")
        self._virtual_base, self._real_base = self.current_time(), self._real_clock()
        self._rate = float(new_rate)

    @property
    def autojump_threshold(self) -> float:
        return self._autojump_threshold

    @autojump_threshold.setter
    def autojump_threshold(self, new_threshold: float) -> None:
        self._autojump_threshold = float(new_threshold)

    def start_clock(self) -> None:
        """Called by the run; starts counting real time, if `rate` isn't 0."""

    def current_time(self) -> float:
        """The time on this clock, in seconds."""
        passed = self._rate * (self._real_clock() - self._real_base) if self._rate else 0.0
        return self._virtual_base + passed

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How many real seconds it takes to reach `deadline`."""
        left = deadline - self.current_time()
        if left <= 0:
            return 0.0
        return left / self._rate if self._rate > 0 else _NEVER

    def jump(self, seconds: float) -> None:
        """Move the clock forward by `seconds`. ValueError if they are negative."""
        if seconds < 0:
            raise ValueError("time can't go backwards")
        self._virtual_base += seconds

    def _autojump(self) -> None:
        """Nothing else can happen: on to the next deadline, if there is one."""
        deadline = asyncio.get_running_loop()._next_deadline()  # type: ignore[attr-defined]
        if deadline is not None:
            self.jump(max(0.0, deadline - self.current_time()))
