"""What happens around the loop's waits: a program's clock says how long, and those who wait for quiet are woken.

The core calls `_before_wait` and `_after_wait` of a loop that has them; they are set only while somebody
needs them, so that an ordinary loop has neither. "Quiet" means that no job was ready and nothing happened
for a while: what `wait_all_tasks_blocked` and a MockClock's autojump wait for.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-testing.html#inter-task-ordering
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from ._clock import Clock
from ._core import reschedule, wait_task_rescheduled
from ._lowlevel import Abort, RaiseCancel, current_task


class Waits:
    """The hooks of one loop.

    Invariant: the loop's `_before_wait` and `_after_wait` are set exactly if one of `clock`, `waiting` and
    `watchers` is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self.clock: Clock | None = None
        """The program's own clock, if it isn't the loop's."""
        self.waiting: dict[asyncio.Task[Any], float] = {}
        """Who waits for quiet, and for how many real seconds of it."""
        self.watchers: tuple[Callable[[float], None], Callable[[float], None]] | None = None
        """Told before and after each wait, with its seconds."""
        self._armed: float | None = None
        """The cushion of those who are woken if nothing happens in this wait; -1 is the clock's autojump."""
        self._timeout = 0.0

    def changed(self) -> None:
        """Sets or removes the hooks, after a change of who needs them."""
        needed = self.clock is not None or bool(self.waiting) or self.watchers is not None
        if needed and "_before_wait" not in vars(self._loop):
            self._loop._before_wait = self.before
            self._loop._after_wait = self.after
        elif not needed and "_before_wait" in vars(self._loop):
            del self._loop._before_wait, self._loop._after_wait

    def before(self, timeout: float | None) -> float | None:
        """How many real seconds the loop may wait, which would wait for `timeout` seconds of its own (None:
        for ever)."""
        self._armed = None
        real = math.inf if timeout is None else timeout
        if real > 0:
            if self.clock is not None and timeout is not None:
                real = self.clock.deadline_to_sleep_time(self.clock.current_time() + timeout)
            cushion = min(self.waiting.values(), default=math.inf)
            autojump = getattr(self.clock, "autojump_threshold", math.inf)
            if self.waiting:
                if cushion < real:
                    real = self._armed = cushion
            elif autojump < real and timeout is not None:
                real, self._armed = autojump, -1.0
        self._timeout = real
        if self.watchers is not None:
            self.watchers[0](real)
        return None if real == math.inf else real

    def after(self, ready: int) -> None:
        """Nothing has happened if there is nothing to do: then it is quiet."""
        if self.watchers is not None:
            self.watchers[1](self._timeout)
        if ready or self._armed is None:
            return
        if self._armed == -1.0:
            self.clock._autojump()  # type: ignore[union-attr]
            return
        quiet = [task for task, cushion in self.waiting.items() if cushion == self._armed]
        for task in quiet:
            del self.waiting[task]
            reschedule(task)
        self.changed()


def waits_of(loop: asyncio.AbstractEventLoop) -> Waits:
    """The hooks of a loop; made when first asked for."""
    found: Waits | None = vars(loop).get("_waits")
    if found is None:
        found = vars(loop)["_waits"] = Waits(loop)
    return found


async def wait_all_tasks_blocked(cushion: float = 0.0) -> None:
    """Wait until all other tasks wait, and nothing has happened for `cushion` real seconds. A checkpoint.

    Threads and processes that will wake a task don't count as activity. If several tasks call it, those with
    the smallest `cushion` are woken first, all of them at once.
    """
    task = current_task()
    waits = waits_of(asyncio.get_running_loop())
    waits.waiting[task] = cushion
    waits.changed()

    def give_up(_: RaiseCancel) -> Abort:
        del waits.waiting[task]
        waits.changed()
        return Abort.SUCCEEDED

    await wait_task_rescheduled(give_up)
