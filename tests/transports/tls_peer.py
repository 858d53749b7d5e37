"""What the TLS tests share: certificates made at run time, contexts, a recording protocol, a blocking peer.

The peer is a thread with the standard library's blocking `ssl`, so that what is tested is never on both ends.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trustme

TIMEOUT = 20.0  # seconds until a test that waits in vain fails


class Certificates:
    """A certificate authority of this test run, and contexts that trust it."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.localhost = self.authority.issue_cert("localhost", "127.0.0.1")
        self.other = self.authority.issue_cert("other.example")
        self.person = self.authority.issue_cert("person@example.org")

    def server(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (certificate or self.localhost).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


class Recorder(asyncio.Protocol):
    """Writes down what it is told, in order, and lets tests wait for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.calls: list[str] = []
        self.data = bytearray()
        self.transport: Any = None
        self.made = loop.create_future()
        self.eof = loop.create_future()
        self.lost: asyncio.Future[BaseException | None] = loop.create_future()
        self._more = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.data += data
        self._more.set()

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        self.eof.set_result(None)
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    async def received(self, size: int) -> bytes:
        """The first `size` bytes, once they are there."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.data) < size:
                self._more.clear()
                await self._more.wait()
        return bytes(self.data[:size])


class Peer:
    """The other end's thread: its result, or what it raised, comes from `join()`."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._outcome = work()
        except BaseException as error:  # handed to whoever joins
            self._error = error

    async def join(self) -> Any:
        await asyncio.to_thread(self._thread.join, TIMEOUT)
        assert not self._thread.is_alive(), "the peer is still waiting"
        if self._error is not None:
            raise self._error
        return self._outcome


@contextmanager
def listening(work: Callable[[socket.socket], Any]) -> Iterator[tuple[tuple[str, int], Peer]]:
    """A peer that accepts one connection and does `work` with it: (address, peer)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)

        def serve() -> Any:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT)
                return work(connection)

        yield listener.getsockname(), Peer(serve)


def calling(address: tuple[str, int], work: Callable[[socket.socket], Any]) -> Peer:
    """A peer that connects and does `work`."""

    def call() -> Any:
        with socket.create_connection(address, TIMEOUT) as connection:
            return work(connection)

    return Peer(call)


def receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return bytes(data)


@asynccontextmanager
async def serving(
    context: ssl.SSLContext, factory: Callable[[], asyncio.BaseProtocol] = Recorder, **options: Any
) -> AsyncIterator[tuple[tuple[str, int], list[Any]]]:
    """A TLS server on the loop: (address, the protocols of its connections)."""
    protocols: list[Any] = []

    def make() -> asyncio.BaseProtocol:
        protocols.append(factory())
        return protocols[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=context, **options)
    async with server:
        yield server.sockets[0].getsockname(), protocols


async def until(condition: Callable[[], Any]) -> None:
    """Waits for something that has no event of its own."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


async def connect(
    address: tuple[str, int], context: ssl.SSLContext, factory: Callable[[], Any] = Recorder, **options: Any
) -> tuple[Any, Any]:
    """(transport, protocol) of a TLS connection to localhost."""
    options.setdefault("server_hostname", "localhost")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        return await loop.create_connection(factory, *address, ssl=context, **options)
