"""`UnboundedQueue`: from tasks, and callbacks that can't wait, to a task that takes everything there is at once.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.UnboundedQueue
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ._core import ParkingLot, cancel_shielded_checkpoint, checkpoint_if_cancelled
from ._errors import WouldBlock

T = TypeVar("T")


@dataclass(frozen=True)
class UnboundedQueueStatistics:
    qsize: int
    tasks_waiting: int


class UnboundedQueue(Generic[T]):
    """A queue without a limit, so that putting never waits; `async for batch in queue` gets lists.

    Where memory must stay bounded, use `open_memory_channel`.
    """

    __slots__ = ("_batch", "_lot", "_woken")

    def __init__(self) -> None:
        self._lot = ParkingLot()
        self._batch: list[T] = []
        self._woken = False
        """A getter was woken for the present batch and has not run yet: nobody else may take it."""

    def __repr__(self) -> str:
        return f"<UnboundedQueue holding {len(self._batch)} items>"

    def qsize(self) -> int:
        """The number of items."""
        return len(self._batch)

    def empty(self) -> bool:
        """Whether there is no item."""
        return not self._batch

    def put_nowait(self, obj: T) -> None:
        """Put an item into the queue."""
        if not self._batch:
            self._woken = bool(self._lot.unpark(count=1))
        self._batch.append(obj)

    def _take(self) -> list[T]:
        batch, self._batch, self._woken = self._batch, [], False
        return batch

    def get_batch_nowait(self) -> list[T]:
        """All items; WouldBlock if there is none, or if a task is just about to get them."""
        if not self._batch or self._woken:
            raise WouldBlock
        return self._take()

    async def get_batch(self) -> list[T]:
        """All items, waiting while there is none. A checkpoint. Cancel-safe: nothing is taken then."""
        await checkpoint_if_cancelled()
        if self._batch and not self._woken:
            batch = self._take()
            await cancel_shielded_checkpoint()
            return batch
        await self._lot.park()
        return self._take()

    def statistics(self) -> UnboundedQueueStatistics:
        """An object with `qsize` and `tasks_waiting`."""
        return UnboundedQueueStatistics(len(self._batch), self._lot.statistics().tasks_waiting)

    def __aiter__(self) -> UnboundedQueue[T]:
        return self

    async def __anext__(self) -> list[T]:
        return await self.get_batch()
