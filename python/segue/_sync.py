"""What of the synchronisation primitives is in Python: `StrictFIFOLock`, `Condition`, `open_memory_channel`.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#synchronizing-and-communicating-between-tasks.
The others are in Rust (`crates/py/src/structured`).
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, TypeVar

from ._core import (
    CancelScope,
    Lock,
    MemoryReceiveChannel,
    MemorySendChannel,
    ParkingLot,
    _open_channel,
)
from ._lowlevel import current_task
from ._statistics import ConditionStatistics

T = TypeVar("T")


class StrictFIFOLock(Lock):
    """A Lock whose order is promised to be first come, first served. (So is Lock's, which doesn't promise it.)"""


class Condition:
    """A lock, and a place to wait until somebody who has the lock says that something changed.

    `async with condition:` acquires and releases the lock.
    """

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is None:
            lock = Lock()
        if type(lock) is not Lock:
            raise TypeError("lock must be a Lock")
        self._lock = lock
        self._lot = ParkingLot()

    def locked(self) -> bool:
        """Whether a task has the lock."""
        return self._lock.locked()

    def acquire_nowait(self) -> None:
        """Acquire the lock if that needs no waiting; else WouldBlock."""
        self._lock.acquire_nowait()

    async def acquire(self) -> None:
        """Acquire the lock. A checkpoint. Cancel-safe."""
        await self._lock.acquire()

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._lock.release()

    async def wait(self) -> None:
        """Release the lock, wait for a `notify`, acquire the lock again. A checkpoint.

        Also when it is cancelled the task has the lock afterwards; then the notification goes to nobody else only
        if it had been given to this task already. RuntimeError if the task doesn't have the lock.
        """
        task = current_task()
        if task is not self._lock._owner:
            raise RuntimeError("must hold the lock to wait")
        self._lock.release()
        try:
            # `notify` moves the task into the lock's own queue, so that it wakes up with the lock.
            await self._lot.park()
        except BaseException:
            if self._lock._owner is not task:
                with CancelScope(shield=True):
                    await self._lock.acquire()
            raise

    def notify(self, n: int = 1) -> None:
        """Wake the `n` tasks that have waited longest, once the lock is free. RuntimeError without the lock."""
        if current_task() is not self._lock._owner:
            raise RuntimeError("must hold the lock to notify")
        self._lot.repark(self._lock._lot, count=n)

    def notify_all(self) -> None:
        """Wake all tasks that wait, once the lock is free. RuntimeError without the lock."""
        if current_task() is not self._lock._owner:
            raise RuntimeError("must hold the lock to notify")
        self._lot.repark_all(self._lock._lot)

    def statistics(self) -> ConditionStatistics:
        """An object with `tasks_waiting` and the lock's `lock_statistics`."""
        return ConditionStatistics(len(self._lot), self._lock.statistics())


class open_memory_channel(tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]):
    """`send, receive = open_memory_channel(max_buffer_size)`: objects from tasks to tasks.

    `max_buffer_size`: how many objects can be under way before `send` waits: an int or infinity. With 0, a send
    is over when its object was received. `open_memory_channel[int](0)` tells type checkers what is sent.
    """

    __slots__ = ()

    def __new__(  # type: ignore[misc]
        cls, max_buffer_size: int | float
    ) -> tuple[MemorySendChannel[T], MemoryReceiveChannel[T]]:
        if max_buffer_size != math.inf and not isinstance(max_buffer_size, int):
            raise TypeError("max_buffer_size must be an integer or math.inf")
        if max_buffer_size < 0:
            raise ValueError("max_buffer_size must be >= 0")
        ends: Any = _open_channel(max_buffer_size)
        return ends  # type: ignore[no-any-return]

    def __init__(self, max_buffer_size: int | float) -> None: ...
