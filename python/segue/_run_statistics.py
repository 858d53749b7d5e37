"""`current_statistics()`: what a loop has to do at the moment.

https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.current_statistics
"""

from __future__ import annotations

import asyncio
import math
import select
from dataclasses import dataclass
from typing import Any

from ._token import TrioToken


@dataclass(frozen=True)
class IOStatistics:
    """Descriptors that somebody waits for."""

    tasks_waiting_read: int
    tasks_waiting_write: int
    backend: str = "epoll" if hasattr(select, "epoll") else "kqueue"


@dataclass(frozen=True)
class RunStatistics:
    """What a loop has to do."""

    tasks_living: int
    tasks_runnable: int
    seconds_to_next_deadline: float
    io_statistics: IOStatistics
    run_sync_soon_queue_size: int


def current_statistics() -> RunStatistics:
    """How many tasks there are, how many callbacks and tasks are ready, when the next timer is due, and who
    waits for I/O."""
    loop: Any = asyncio.get_running_loop()
    deadline = loop._next_deadline()
    readiness = vars(loop).get("_readiness")
    waiting = [to_read for _, to_read in readiness.waiting] if readiness is not None else []
    token: TrioToken | None = vars(loop).get("_token")
    return RunStatistics(
        tasks_living=len(asyncio.all_tasks(loop)),
        tasks_runnable=loop._counts()[0],
        seconds_to_next_deadline=math.inf if deadline is None else deadline - loop.time(),
        io_statistics=IOStatistics(waiting.count(True), waiting.count(False)),
        run_sync_soon_queue_size=token._size() if token is not None else 0,
    )
