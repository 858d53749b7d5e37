"""`open_signal_receiver`: signals as something to iterate over.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#signals
"""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ._conflicts import ConflictDetector
from ._core import ParkingLot, checkpoint
from ._token import current_trio_token

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


@contextmanager
def _signal_handler(signals: Iterable[int], handler: Handler) -> Iterator[None]:
    """Lets `handler` have the signals inside the block, whoever had them before."""
    before: dict[int, Handler] = {}
    try:
        for signum in set(signals):
            before[signum] = signal.signal(signum, handler)
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


class SignalReceiver:
    """What `open_signal_receiver` gives: `async for signum in receiver:`."""

    def __init__(self) -> None:
        # Each signal at most once, in the order in which they came.
        self._pending: dict[int, None] = {}
        self._lot = ParkingLot()
        self._iterating = ConflictDetector("only one task can iterate on a signal receiver at a time")
        self._closed = False

    def _add(self, signum: int) -> None:
        if self._closed:
            # It came before the block was left, but is heard of only now.
            signal.raise_signal(signum)
        else:
            self._pending[signum] = None
            self._lot.unpark()

    def _take(self) -> int:
        signum = next(iter(self._pending))
        del self._pending[signum]
        return signum

    def _close(self) -> None:
        """The block is left and the handlers of before are back: they get what nobody has taken."""
        self._closed = True
        if self._pending:
            try:
                signal.raise_signal(self._take())
            finally:
                self._close()  # also behind a handler that raises

    def __aiter__(self) -> SignalReceiver:
        return self

    async def __anext__(self) -> int:
        if self._closed:
            raise RuntimeError("open_signal_receiver block already exited")
        with self._iterating:
            if self._pending:
                await checkpoint()
            else:
                await self._lot.park()
            return self._take()


def get_pending_signal_count(receiver: AsyncIterator[int]) -> int:
    """How many signals a receiver has that were not taken yet. For tests."""
    assert isinstance(receiver, SignalReceiver)
    return len(receiver._pending)


@contextmanager
def open_signal_receiver(*signals: int) -> Iterator[AsyncIterator[int]]:
    """`with open_signal_receiver(SIGHUP) as receiver: async for signum in receiver: ...`

    Inside the block the signals go to the receiver, one that comes several times before it is taken counts once, and
    nobody is interrupted by them. When the block is left, the handlers of before are back and get the signals that
    were not taken: none is lost. Waiting for the next signal is a checkpoint and cancel-safe; only one task can do it
    at a time (BusyResourceError).

    TypeError without signals, RuntimeError outside of the main thread, ValueError for what is no signal.
    """
    if not signals:
        raise TypeError("No signals were provided")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("open_signal_receiver works only in the main thread, in which Python handles signals")
    token = current_trio_token()
    receiver = SignalReceiver()

    def heard(signum: int, frame: FrameType | None) -> None:
        token.run_sync_soon(receiver._add, signum, idempotent=True)

    try:
        with _signal_handler(signals, heard):
            yield receiver
    finally:
        receiver._close()
