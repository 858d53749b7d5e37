"""Streams inside the process: with a buffer without end, or with none at all.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-testing.html#virtual-networking-for-testing.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._conflicts import ConflictDetector
from .._errors import BrokenResourceError, ClosedResourceError, WouldBlock
from .._stream_abc import ReceiveStream, SendStream
from .._streams import StapledStream
from ..lowlevel import ParkingLot, checkpoint

AsyncHook = Callable[[], Awaitable[object]]
SyncHook = Callable[[], object]
Data = bytes | bytearray | memoryview
SendEnd = TypeVar("SendEnd", bound=SendStream)
ReceiveEnd = TypeVar("ReceiveEnd", bound=ReceiveStream)


def _check_size(max_bytes: int | None) -> None:
    if max_bytes is not None and operator.index(max_bytes) < 1:
        raise ValueError("max_bytes must be >= 1")


def _take(data: bytearray, max_bytes: int | None) -> bytearray:
    taken = data[:max_bytes]
    del data[:max_bytes]
    return taken


class ByteQueue:
    """Bytes on their way, as many as there are. After `close` nothing goes in, and what is in still comes out."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._closed = False
        self._waiting = ParkingLot()
        self._fetching = ConflictDetector("another task is already fetching data")

    def put(self, data: Data) -> None:
        if self._closed:
            raise ClosedResourceError("this virtual connection is closed")
        self._data += data
        self._waiting.unpark_all()

    def close(self) -> None:
        self._closed = True
        self._waiting.unpark_all()

    def close_and_wipe(self) -> None:
        self._data.clear()
        self.close()

    def get_nowait(self, max_bytes: int | None = None) -> bytearray:
        with self._fetching:
            _check_size(max_bytes)
            if not self._data and not self._closed:
                raise WouldBlock
            return _take(self._data, max_bytes)

    async def get(self, max_bytes: int | None = None) -> bytearray:
        with self._fetching:
            _check_size(max_bytes)
            if self._data or self._closed:
                await checkpoint()
            else:
                await self._waiting.park()
            return _take(self._data, max_bytes)


async def _two_checkpoints() -> None:
    """One more than needed, so that a second task that comes in between is noticed."""
    await checkpoint()
    await checkpoint()


class MemorySendStream(SendStream):
    """A stream whose bytes end up in a buffer, out of which a test takes them.

    The hooks are attributes too, and may be changed at any time: `send_all_hook` (async) is called when `send_all` has
    filled the buffer, `wait_send_all_might_not_block_hook` (async) by that method, `close_hook` by closing.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.MemorySendStream
    """

    def __init__(
        self,
        send_all_hook: AsyncHook | None = None,
        wait_send_all_might_not_block_hook: AsyncHook | None = None,
        close_hook: SyncHook | None = None,
    ) -> None:
        self.send_all_hook = send_all_hook
        self.wait_send_all_might_not_block_hook = wait_send_all_might_not_block_hook
        self.close_hook = close_hook
        self._outgoing = ByteQueue()
        self._in_use = ConflictDetector("another task is using this stream")

    async def send_all(self, data: Data) -> None:
        with self._in_use:
            await _two_checkpoints()
            self._outgoing.put(data)
            if self.send_all_hook is not None:
                await self.send_all_hook()

    async def wait_send_all_might_not_block(self) -> None:
        with self._in_use:
            await _two_checkpoints()
            self._outgoing.put(b"")  # raises if it is closed
            if self.wait_send_all_might_not_block_hook is not None:
                await self.wait_send_all_might_not_block_hook()

    def close(self) -> None:
        """As `aclose`, without a checkpoint."""
        self._outgoing.close()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    async def get_data(self, max_bytes: int | None = None) -> bytearray:
        """Take what was sent, waiting for at least one byte; empty if the stream is closed. Cancel-safe."""
        return await self._outgoing.get(max_bytes)

    def get_data_nowait(self, max_bytes: int | None = None) -> bytearray:
        """Take what was sent, or WouldBlock."""
        return self._outgoing.get_nowait(max_bytes)


class MemoryReceiveStream(ReceiveStream):
    """A stream that receives what a test puts into its buffer.

    The hooks are attributes too, and may be changed at any time: `receive_some_hook` (async) is called before
    `receive_some` looks into the buffer, `close_hook` by closing.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.MemoryReceiveStream
    """

    def __init__(self, receive_some_hook: AsyncHook | None = None, close_hook: SyncHook | None = None) -> None:
        self.receive_some_hook = receive_some_hook
        self.close_hook = close_hook
        self._closed = False
        self._incoming = ByteQueue()
        self._in_use = ConflictDetector("another task is using this stream")

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        with self._in_use:
            await _two_checkpoints()
            self._check_open()
            if self.receive_some_hook is not None:
                await self.receive_some_hook()
            data = await self._incoming.get(max_bytes)
            self._check_open()
            return data

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError("this stream is closed")

    def close(self) -> None:
        """As `aclose`, without a checkpoint. What is in the buffer is dropped."""
        self._closed = True
        self._incoming.close_and_wipe()
        if self.close_hook is not None:
            self.close_hook()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def put_data(self, data: Data) -> None:
        """Let `data` be received. ClosedResourceError behind an end or on a closed stream."""
        self._incoming.put(data)

    def put_eof(self) -> None:
        """Let the end be received."""
        self._incoming.close()


def memory_stream_pump(
    memory_send_stream: MemorySendStream, memory_receive_stream: MemoryReceiveStream, *, max_bytes: int | None = None
) -> bool:
    """Move what was sent into one stream into the other, at most `max_bytes`; False if there was nothing.

    BrokenResourceError if the receiving stream is closed.
    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.memory_stream_pump
    """
    try:
        data = memory_send_stream.get_data_nowait(max_bytes)
    except WouldBlock:
        return False
    try:
        if data:
            memory_receive_stream.put_data(data)
        else:
            memory_receive_stream.put_eof()
    except ClosedResourceError:
        raise BrokenResourceError("MemoryReceiveStream was closed") from None
    return True


def memory_stream_one_way_pair() -> tuple[MemorySendStream, MemoryReceiveStream]:
    """Two ends of a pipe that never fills up. The sending end's `send_all_hook` and `close_hook` move the bytes.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.memory_stream_one_way_pair
    """
    sending = MemorySendStream()
    receiving = MemoryReceiveStream()

    def pump() -> None:
        memory_stream_pump(sending, receiving)

    async def async_pump() -> None:
        pump()

    sending.send_all_hook = async_pump
    sending.close_hook = pump
    return sending, receiving


def _connection(
    one_way_pair: Callable[[], tuple[SendEnd, ReceiveEnd]],
) -> tuple[StapledStream[SendEnd, ReceiveEnd], StapledStream[SendEnd, ReceiveEnd]]:
    there_in, there_out = one_way_pair()
    back_in, back_out = one_way_pair()
    return StapledStream(there_in, back_out), StapledStream(back_in, there_out)


def memory_stream_pair() -> tuple[
    StapledStream[MemorySendStream, MemoryReceiveStream], StapledStream[MemorySendStream, MemoryReceiveStream]
]:
    """Two ends of a connection that never fills up, each made of a pair from `memory_stream_one_way_pair`.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.memory_stream_pair
    """
    return _connection(memory_stream_one_way_pair)


class _Lockstep:
    """Bytes of one `send_all` at a time, which ends when the last of them was received."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._sender_closed = False
        self._receiver_closed = False
        self._receiver_waits = False
        self._changed = ParkingLot()
        self._sending = ConflictDetector("another task is already sending")
        self._receiving = ConflictDetector("another task is already receiving")

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Until so, or one of the ends is closed. A checkpoint."""
        while not (reached() or self._sender_closed or self._receiver_closed):
            await self._changed.park()
        await checkpoint()

    def close_sender(self) -> None:
        self._sender_closed = True
        self._changed.unpark_all()

    def close_receiver(self) -> None:
        self._receiver_closed = True
        self._changed.unpark_all()

    def _check_sender_open(self) -> None:
        if self._sender_closed:
            raise ClosedResourceError("this stream is closed")

    def _check_receiver_open(self) -> None:
        if self._receiver_closed:
            raise ClosedResourceError("this stream is closed")

    async def send_all(self, data: Data) -> None:
        with self._sending:
            self._check_sender_open()
            if self._receiver_closed:
                raise BrokenResourceError("the receiving end is closed")
            self._data += data
            self._changed.unpark_all()
            await self._until(lambda: not self._data)
            self._check_sender_open()
            if self._data:
                raise BrokenResourceError("the receiving end was closed")

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_sender_open()
            await self._until(lambda: self._receiver_waits)
            self._check_sender_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        with self._receiving:
            _check_size(max_bytes)
            self._check_receiver_open()
            self._receiver_waits = True
            self._changed.unpark_all()
            try:
                await self._until(lambda: bool(self._data))
            finally:
                self._receiver_waits = False
            self._check_receiver_open()
            received = _take(self._data, max_bytes)
            self._changed.unpark_all()
            return received


class _LockstepSendStream(SendStream):
    def __init__(self, link: _Lockstep) -> None:
        self._link = link

    async def send_all(self, data: Data) -> None:
        await self._link.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._link.wait_send_all_might_not_block()

    def close(self) -> None:
        self._link.close_sender()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()


class _LockstepReceiveStream(ReceiveStream):
    def __init__(self, link: _Lockstep) -> None:
        self._link = link

    async def receive_some(self, max_bytes: int | None = None) -> bytearray:
        return await self._link.receive_some(max_bytes)

    def close(self) -> None:
        self._link.close_receiver()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()


def lockstep_stream_one_way_pair() -> tuple[SendStream, ReceiveStream]:
    """Two ends of a pipe without a buffer: `send_all` ends when everything was received. Both also have `close()`.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.lockstep_stream_one_way_pair
    """
    link = _Lockstep()
    return _LockstepSendStream(link), _LockstepReceiveStream(link)


def lockstep_stream_pair() -> tuple[
    StapledStream[SendStream, ReceiveStream], StapledStream[SendStream, ReceiveStream]
]:
    """Two ends of a connection without a buffer, made of two pairs from `lockstep_stream_one_way_pair`.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.lockstep_stream_pair
    """
    return _connection(lockstep_stream_one_way_pair)
