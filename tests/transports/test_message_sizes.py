"""What a protocol is given when messages differ in size, on asyncio and on Segue: every byte, once, for good."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Sequence

import pytest
from on_either_loop import Run

KIB = 1024
LARGEST_READ = 256 * KIB


class Collector(asyncio.Protocol):
    """Keeps what arrived: the objects themselves (`keep`), or only copies, so that their memory may serve again."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.kept: list[bytes] = []
        self.received = bytearray()
        self.calls: list[object] = []
        self.arrived = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        if self.keep:
            self.kept.append(data)
        self.received += data
        self.calls.append(len(data))
        self.arrived.set()

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)

    async def until(self, count: int) -> None:
        while len(self.received) < count:
            self.arrived.clear()
            await self.arrived.wait()


async def connected(keep: bool = False) -> tuple[Collector, socket.socket]:
    """A protocol on one end of a TCP connection, and the other end, which blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _, collector = await asyncio.get_running_loop().create_connection(lambda: Collector(keep), sock=ours)
    return collector, theirs


SIZES: dict[str, Sequence[int]] = {
    "the same": [KIB] * 6,
    "one byte more each time": range(KIB, KIB + 20),
    "one byte less each time": range(KIB + 20, KIB, -1),
    "small and large in turn": [300, 8 * KIB] * 20,
    "large once, then small": [100 * KIB, *[500] * 40, 501, 499],
    "around the largest read": [LARGEST_READ + more for more in (-1, 0, 1, 0, -1)],
    "tiny ones between": [1, 2 * KIB, 1, 2 * KIB + 1, 256, 257, 256, 258],
}


@pytest.mark.parametrize("keep", [False, True], ids=["given back", "kept"])
@pytest.mark.parametrize("name", SIZES)
def test_every_byte_arrives_once(run: Run, name: str, keep: bool) -> None:
    sizes = SIZES[name]
    messages = [random.Random(size).randbytes(size) for size in sizes]

    async def main() -> None:
        collector, theirs = await connected(keep)
        count = 0
        for message in messages:
            await asyncio.to_thread(theirs.sendall, message)
            count += len(message)
            await collector.until(count)
        theirs.close()
        assert await collector.lost is None
        assert bytes(collector.received) == b"".join(messages)
        assert b"".join(collector.kept) == (b"".join(messages) if keep else b"")
        assert collector.calls[-2:] == ["eof", "lost"]

    run(main())


@pytest.mark.parametrize("more", [-1, 0, 1, 2, 3 * KIB])
def test_the_end_behind_a_message_of_another_size(run: Run, more: int) -> None:
    async def main() -> None:
        collector, theirs = await connected()
        for _ in range(3):
            theirs.sendall(bytes(KIB))
            await collector.until(len(collector.received) + KIB)
        theirs.sendall(bytes(KIB + more))
        theirs.close()
        assert await collector.lost is None
        assert len(collector.received) == 4 * KIB + more
        assert collector.calls[-2:] == ["eof", "lost"]

    run(main())


@pytest.mark.parametrize("more", [-1, 0, 1, 2, 3 * KIB])
def test_a_reset_behind_a_message_of_another_size(run: Run, more: int) -> None:
    async def main() -> None:
        collector, theirs = await connected()
        for _ in range(3):
            theirs.sendall(bytes(KIB))
            await collector.until(len(collector.received) + KIB)
        theirs.sendall(bytes(KIB + more))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        assert isinstance(await collector.lost, ConnectionResetError)
        assert len(collector.received) == 4 * KIB + more
        assert collector.calls[-1] == "lost" and "eof" not in collector.calls

    run(main())


@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_reader_that_pauses_gets_the_end_when_it_resumes(run: Run, more: int) -> None:
    class Pausing(Collector):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if len(self.received) > KIB:
                self.transport.pause_reading()  # type: ignore[attr-defined]

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        transport, collector = await asyncio.get_running_loop().create_connection(lambda: Pausing(False), sock=ours)
        theirs.sendall(bytes(KIB))
        await collector.until(KIB)
        theirs.sendall(bytes(KIB + more))
        theirs.close()
        await collector.until(2 * KIB + more)
        assert not collector.lost.done() and "eof" not in collector.calls
        transport.resume_reading()
        assert await collector.lost is None
        assert collector.calls[-2:] == ["eof", "lost"]

    run(main())


@pytest.mark.parametrize("size", [10, KIB, LARGEST_READ - 1])
def test_the_end_is_not_in_the_turn_of_the_data(run: Run, size: int) -> None:
    """What the data has set off runs before the connection ends, however early the peer has closed it."""
    order: list[str] = []

    class Ordered(Collector):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            order.append("data")
            asyncio.get_running_loop().call_soon(order.append, "soon")

        def eof_received(self) -> None:
            order.append("eof")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        theirs.sendall(bytes(size))
        theirs.close()
        _, protocol = await asyncio.get_running_loop().create_connection(lambda: Ordered(False), sock=ours)
        await protocol.lost
        assert order[-3:] == ["data", "soon", "eof"]

    run(main())
