"""asyncio's streams as programs see them, on asyncio and on Segue: what arrives, when reading pauses, what is raised.

Segue feeds an unpatched `StreamReader` without calling its Python methods. Every way in which a program could see that
has a test here, and the last ones count the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Run
from tls_peer import Certificates

LARGE = 100 * 1024


@dataclass
class Pair:
    """A stream on the loop, and the other end of its connection: a plain socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: socket.socket

    @property
    def transport(self) -> Any:
        return self.writer.transport

    @property
    def protocol(self) -> Any:
        return self.transport.get_protocol()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, data)


@contextlib.asynccontextmanager
async def pair(
    limit: int = 2**16,
    reader_class: type[asyncio.StreamReader] = asyncio.StreamReader,
    protocol_class: type[asyncio.StreamReaderProtocol] = asyncio.StreamReaderProtocol,
) -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    near, peer = socket.socketpair()
    peer.setblocking(False)
    near.setblocking(False)
    reader = reader_class(limit=limit, loop=loop)
    protocol = protocol_class(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=near)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    both = Pair(reader, writer, peer)
    del reader  # the transport doesn't keep it alive, and neither do we
    try:
        yield both
    finally:
        peer.close()
        writer.close()
        with contextlib.suppress(Exception):
            await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def buffered(p: Pair) -> int:
    return len(p.reader._buffer)  # type: ignore[attr-defined]


def test_messages_of_every_size_arrive_whole(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            for size in (1, 255, 256, 1024, 16_383, 16_384, 16_385, LARGE, 300_000, 1_000_000, 5, LARGE, 1):
                data = bytes(i * 31 % 251 for i in range(size))
                sending = asyncio.ensure_future(p.send(data))
                assert await p.reader.readexactly(size) == data
                await sending
            assert buffered(p) == 0

    run(main())
    assert not run.reports


def test_lines_and_separators_across_chunks(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            line = asyncio.ensure_future(p.reader.readline())
            for piece in (b"on", b"e", b" line\ntwo--en", b"d--r", b"est"):
                await p.send(piece)
                await asyncio.sleep(0.005)
            assert await line == b"one line\n"
            assert await p.reader.readuntil(b"--end--") == b"two--end--"
            p.peer.shutdown(socket.SHUT_WR)
            assert await p.reader.read() == b"rest"
            assert p.reader.at_eof()
            assert await p.reader.read(10) == b""
            with pytest.raises(asyncio.IncompleteReadError) as failed:
                await p.reader.readexactly(3)
            assert failed.value.partial == b""

    run(main())


def test_a_line_over_the_limit(run: Run) -> None:
    async def main() -> None:
        async with pair(limit=64) as p:
            await p.send(b"x" * 200)
            with pytest.raises(asyncio.LimitOverrunError):
                await p.reader.readuntil(b"\n")
            assert await p.reader.readexactly(200) == b"x" * 200

    run(main())


@pytest.mark.parametrize("large", [False, True])
def test_reading_pauses_over_twice_the_limit_and_resumes(run: Run, large: bool) -> None:
    limit = 50_000 if large else 1_000

    async def main() -> None:
        async with pair(limit=limit) as p:
            if large:  # what follows is read straight into the reader's buffer
                await p.send(b"." * 40_000)
                assert await p.reader.readexactly(40_000)
            await p.send(b"." * (2 * limit))
            await until(lambda: buffered(p) == 2 * limit)
            assert p.transport.is_reading()
            await p.send(b"!")
            await until(lambda: not p.transport.is_reading())
            assert p.reader._paused is True  # type: ignore[attr-defined]
            await p.send(b"later")
            await asyncio.sleep(0.01)
            assert buffered(p) == 2 * limit + 1
            assert await p.reader.read(limit) == b"." * limit
            assert not p.transport.is_reading()  # more than the limit is still there
            assert await p.reader.read(1) == b"."
            assert p.transport.is_reading()
            rest = await p.reader.readexactly(limit + 5)
            assert rest.endswith(b".!later")

    run(main())


def test_a_limit_changed_on_the_way(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            p.reader._limit = 2.5  # type: ignore[attr-defined]
            await p.send(b"12345")
            await until(lambda: buffered(p))
            assert p.transport.is_reading()
            await p.send(b"6")
            await until(lambda: not p.transport.is_reading())

    run(main())


def test_a_transport_that_cannot_pause_is_forgotten(run: Run) -> None:
    class Stubborn:
        def pause_reading(self) -> None:
            raise NotImplementedError

    async def main() -> None:
        async with pair(limit=2) as p:
            p.reader._transport = Stubborn()  # type: ignore[attr-defined]
            await p.send(b"12345")
            await until(lambda: buffered(p) == 5)
            assert p.reader._transport is None  # type: ignore[attr-defined]
            await p.send(b"12345")
            await until(lambda: buffered(p) == 10)
            assert p.transport.is_reading()

    run(main())
    assert not run.reports


def test_a_cancelled_reader_loses_nothing(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            reading = asyncio.ensure_future(p.reader.read(10))
            await asyncio.sleep(0)
            waiter = p.reader._waiter  # type: ignore[attr-defined]
            reading.cancel()
            await p.send(b"kept")
            await asyncio.gather(reading, return_exceptions=True)
            assert waiter.cancelled()
            assert await p.reader.read(10) == b"kept"
            # A waiter cancelled by itself, so that data finds it.
            reading = asyncio.ensure_future(p.reader.read(10))
            await asyncio.sleep(0)
            p.reader._waiter.cancel()  # type: ignore[attr-defined]
            p.protocol.data_received(b"again")
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await p.reader.read(10) == b"again"

    run(main())
    assert not run.reports


def test_an_exception_set_on_the_reader(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            reading = asyncio.ensure_future(p.reader.read(10))
            await asyncio.sleep(0)
            p.reader.set_exception(ValueError("broken"))
            with pytest.raises(ValueError, match="broken"):
                await reading
            await p.send(b"data")
            await until(lambda: buffered(p))
            with pytest.raises(ValueError, match="broken"):
                await p.reader.read(10)

    run(main())


def only_report(run: Run) -> dict[str, Any]:
    [report] = [r for r in run.reports if "protocol.data_received()" in r["message"]]
    assert report["message"] == "Fatal error: protocol.data_received() call failed."
    return report


@pytest.mark.parametrize("first", [10, 40_000])
def test_data_while_somebody_looks_into_the_buffer(run: Run, first: int) -> None:
    """A bytearray that is exported can't be resized: asyncio calls that fatal."""

    async def main() -> None:
        async with pair() as p:
            await p.send(b"." * first)
            await until(lambda: buffered(p) == first)
            with memoryview(p.reader._buffer):  # type: ignore[attr-defined]
                await p.send(b"more")
                await until(lambda: run.reports)
                assert p.transport.is_closing()
            with pytest.raises(BufferError):
                await p.reader.readexactly(first + 1)

    run(main())
    assert isinstance(only_report(run)["exception"], BufferError)


def test_data_after_the_end(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            p.reader.feed_eof()
            await p.send(b"late")
            await until(lambda: run.reports)

    run(main())
    exception = only_report(run)["exception"]
    assert isinstance(exception, AssertionError)
    assert str(exception) == "feed_data after feed_eof"


def test_a_waiter_that_is_done_already(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            p.reader._waiter = asyncio.get_running_loop().create_future()  # type: ignore[attr-defined]
            p.reader._waiter.set_result(None)  # type: ignore[attr-defined]
            await p.send(b"data")
            await until(lambda: run.reports)
            assert buffered(p) == 4

    run(main())
    assert isinstance(only_report(run)["exception"], asyncio.InvalidStateError)


def test_a_missing_attribute(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            del p.reader._buffer  # type: ignore[attr-defined]
            await p.send(b"data")
            await until(lambda: run.reports)
            p.reader._buffer = bytearray()  # type: ignore[attr-defined]

    run(main())
    assert isinstance(only_report(run)["exception"], AttributeError)


def test_a_waiter_of_another_kind(run: Run) -> None:
    class Waiter(asyncio.Future[None]):
        woken = 0

        def set_result(self, result: None) -> None:
            self.woken += 1
            super().set_result(result)

    async def main() -> None:
        async with pair() as p:
            p.reader._waiter = waiter = Waiter()  # type: ignore[attr-defined]
            await p.send(b"data")
            await waiter
            assert waiter.woken == 1
            assert p.reader._waiter is None  # type: ignore[attr-defined]

    run(main())


def test_a_reader_that_nobody_holds_drops_what_comes(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            alive = weakref.ref(p.reader)
            protocol = p.protocol
            p.writer._reader = None  # type: ignore[attr-defined]
            p.reader = None  # type: ignore[assignment]
            gc.collect()
            assert alive() is None and protocol._stream_reader is None
            await p.send(b"nobody reads this")
            await asyncio.sleep(0.01)

    run(main())
    assert not run.reports


class OwnReader(asyncio.StreamReader):
    def feed_data(self, data: bytes) -> None:
        super().feed_data(data.upper())


class OwnProtocol(asyncio.StreamReaderProtocol):
    def data_received(self, data: bytes) -> None:
        super().data_received(data.upper())


def test_subclasses(run: Run) -> None:
    async def main() -> None:
        async with pair(reader_class=OwnReader) as p:
            await p.send(b"reader")
            assert await p.reader.read(10) == b"READER"
        async with pair(protocol_class=OwnProtocol) as p:
            await p.send(b"protocol")
            assert await p.reader.read(10) == b"PROTOCOL"

    run(main())


PATCHED = [
    (asyncio.StreamReader, "feed_data"),
    (asyncio.StreamReaderProtocol, "data_received"),
]


@pytest.mark.parametrize("when", ["before", "connected", "between"])
@pytest.mark.parametrize("owner, name", PATCHED)
def test_patched_classes(run: Run, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> None:
    original = getattr(owner, name)
    seen: list[bytes] = []

    def patched(self: Any, data: bytes) -> None:
        seen.append(data)
        original(self, data)

    async def main() -> None:
        if when == "before":
            monkeypatch.setattr(owner, name, patched)
        async with pair() as p:
            if when == "connected":
                monkeypatch.setattr(owner, name, patched)
            elif when == "between":
                await p.send(b"unseen")
                assert await p.reader.readexactly(6) == b"unseen"
                monkeypatch.setattr(owner, name, patched)
            await p.send(b"seen")
            assert await p.reader.readexactly(4) == b"seen"
            assert seen == [b"seen"]
            monkeypatch.undo()
            await p.send(b"unseen")
            assert await p.reader.readexactly(6) == b"unseen"
            assert seen == [b"seen"]

    run(main())


def test_patched_wakeup_property_and_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    wakeup = asyncio.StreamReader._wakeup_waiter  # type: ignore[attr-defined]

    def patched_wakeup(self: asyncio.StreamReader) -> None:
        seen.append("wakeup")
        wakeup(self)

    def patched_code(self: Any, data: bytes) -> None:
        reader = self._stream_reader
        if reader is not None:
            reader.feed_data(data.upper())

    async def main() -> None:
        async with pair() as p:

            async def round_trip(expected: bytes) -> None:
                await p.send(b"data")
                assert await p.reader.readexactly(4) == expected

            await round_trip(b"data")
            with monkeypatch.context() as patch:
                patch.setattr(asyncio.StreamReader, "_wakeup_waiter", patched_wakeup)
                await round_trip(b"data")
                assert seen.count("wakeup") >= 1
            with monkeypatch.context() as patch:
                other = asyncio.StreamReader(loop=asyncio.get_running_loop())
                patch.setattr(asyncio.StreamReaderProtocol, "_stream_reader", other)
                await p.send(b"elsewhere")
                assert await other.readexactly(9) == b"elsewhere"
            with monkeypatch.context() as patch:
                patch.setattr(asyncio.StreamReaderProtocol.data_received, "__code__", patched_code.__code__)
                await round_trip(b"DATA")
            with monkeypatch.context() as patch:
                patch.setattr(
                    asyncio.StreamReader,
                    "__setattr__",
                    lambda self, name, value: (seen.append(name), object.__setattr__(self, name, value)),
                    raising=False,
                )
                await round_trip(b"data")
                assert "_waiter" in seen
            await round_trip(b"data")

    run(main())


def test_methods_overridden_in_the_object(run: Run) -> None:
    async def main() -> None:
        for name in ("feed_data", "_wakeup_waiter", "data_received"):
            async with pair() as p:
                await p.send(b"one")
                assert await p.reader.readexactly(3) == b"one"
                owner: Any = p.protocol if name == "data_received" else p.reader
                original = getattr(owner, name)
                calls: list[Any] = []

                def own(*args: Any, calls: list[Any] = calls, original: Any = original) -> None:
                    calls.append(args)
                    original(*args)

                setattr(owner, name, own)
                await p.send(b"two")
                assert await p.reader.readexactly(3) == b"two"
                assert calls == ([()] if name == "_wakeup_waiter" else [(b"two",)])
                delattr(owner, name)

    run(main())


def test_the_protocol_is_replaced_and_put_back(run: Run) -> None:
    class Other(asyncio.Protocol):
        def __init__(self) -> None:
            self.got = bytearray()

        def data_received(self, data: bytes) -> None:
            self.got += data

    async def main() -> None:
        async with pair() as p:
            await p.send(b"stream")
            assert await p.reader.readexactly(6) == b"stream"
            streams, other = p.protocol, Other()
            p.transport.set_protocol(other)
            await p.send(b"other")
            await until(lambda: other.got == b"other")
            p.transport.set_protocol(streams)
            await p.send(b"stream")
            assert await p.reader.readexactly(6) == b"stream"

    run(main())


def test_start_tls_on_a_stream(run: Run, certificates: Certificates) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(certificates.server())
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go ahead\n"
            await writer.start_tls(certificates.client(), server_hostname="localhost")
            for size in (10, LARGE, 10):
                data = bytes(i % 251 for i in range(size))
                writer.write(data)
                assert await reader.readexactly(size) == data
            writer.close()
            await writer.wait_closed()

    run(main())


def test_drain_waits_until_the_peer_reads(run: Run) -> None:
    async def main() -> None:
        async with pair() as p:
            data = b"." * 4_000_000
            p.writer.write(data)
            draining = asyncio.ensure_future(p.writer.drain())
            await asyncio.sleep(0.01)
            assert not draining.done()
            got = 0
            while got < len(data):
                got += len(await asyncio.get_running_loop().sock_recv(p.peer, 1 << 20))
            await draining

    run(main())


def test_unpatched_streams_are_fed_without_python(run: Run) -> None:
    """Segue doesn't call the Python methods; asyncio does. A profile function sees every call."""
    called: list[str] = []

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in ("data_received", "feed_data", "_wakeup_waiter"):
            called.append(frame.f_code.co_name)

    async def main() -> None:
        async with pair() as p:
            sys.setprofile(profile)
            try:
                for size in (10, LARGE, LARGE):
                    sending = asyncio.ensure_future(p.send(b"." * size))
                    await p.reader.readexactly(size)
                    await sending
            finally:
                sys.setprofile(None)

    run(main())
    assert bool(called) == (run.loop_name == "asyncio")
