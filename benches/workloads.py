"""Every row's workload as plain asyncio code: what is measured, and nothing about how.

`IN_PROCESS` workloads are coroutine functions of `n`, the number of operations. `SERVERS` start a server
and return the address it listens on; they call `board.opened()` / `board.closed()` for their connections,
so that the worker can take its snapshots, and the load comes from another process (load.c). Nothing here
knows which loop it runs on. Called by worker.py only.
"""

import asyncio
import collections
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

# ---- in one process ----------------------------------------------------------------------------------------


async def _nothing() -> None:
    pass


async def create_await(n: int) -> None:
    """Create a task for an empty coroutine and await it."""
    loop = asyncio.get_running_loop()
    for _ in range(n):
        await loop.create_task(_nothing())


GATHER = 50_000


async def gather(n: int) -> None:
    """`gather` of 50,000 coroutines at once; an operation is one of the 50,000."""
    for _ in range(max(1, n // GATHER)):
        await asyncio.gather(*[_nothing() for _ in range(min(n, GATHER))])


async def gather_eager(n: int) -> None:
    """The same under `asyncio.eager_task_factory`: every coroutine finishes before `gather` has its task."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    probe = _nothing()
    try:
        await loop.create_task(probe)
    except TypeError:  # uvloop 0.23 passes `eager_start` on, which CPython's factory takes from 3.13.3 on
        probe.close()

        def factory(loop, coro, *, eager_start=None, **kwargs):  # type: ignore[no-untyped-def]
            return asyncio.eager_task_factory(loop, coro, **kwargs)  # type: ignore[attr-defined, unused-ignore]

        loop.set_task_factory(factory)
    try:
        await gather(n)
    finally:
        loop.set_task_factory(None)


async def future_wakeup(n: int) -> None:
    """Two tasks wake each other through futures; an operation is one `set_result` and its step."""
    loop = asyncio.get_running_loop()
    ping, pong = loop.create_future(), loop.create_future()

    async def answer() -> None:
        nonlocal ping, pong
        for _ in range(n // 2):
            await ping
            ping = loop.create_future()
            pong.set_result(None)

    answering = loop.create_task(answer())
    await asyncio.sleep(0)
    for _ in range(n // 2):
        ping.set_result(None)
        await pong
        pong = loop.create_future()
    await answering


async def call_soon(n: int) -> None:
    """`call_soon` of a Python function without arguments and its call, 1,000 to a turn."""
    loop = asyncio.get_running_loop()

    def callback() -> None:
        pass

    schedule = loop.call_soon
    for _ in range(max(1, n // 1000)):
        for _ in range(min(n, 1000)):
            schedule(callback)
        await asyncio.sleep(0)


async def call_soon_chain(n: int) -> None:
    """A callback that schedules itself: an operation is `call_soon`, a turn of the loop, and the call."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = n

    def callback() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(callback)
        else:
            done.set_result(None)

    loop.call_soon(callback)
    await done


async def sleep_zero(n: int) -> None:
    """Two tasks take turns with `sleep(0)`; an operation is one switch."""

    async def spin() -> None:
        for _ in range(n // 2):
            await asyncio.sleep(0)

    await asyncio.gather(spin(), spin())


async def timer_fire(n: int) -> None:
    """`call_later` with delays of 1 to 6 ms in scrambled order, and the call when they are due."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = n

    def callback() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)

    schedule = loop.call_later
    for i in range(n):
        schedule(0.001 + i * 7919 % 5000 * 1e-6, callback)
    await done


OUTSTANDING = 1_000


async def timer_cancel(n: int) -> None:
    """`call_later` far ahead and `cancel`, as of timeouts: 1,000 outstanding, the oldest goes first."""
    loop = asyncio.get_running_loop()

    def callback() -> None:
        raise AssertionError("a cancelled timer fired")

    schedule = loop.call_later
    outstanding: collections.deque[asyncio.TimerHandle] = collections.deque()
    for i in range(n):
        outstanding.append(schedule(60 + i % 100, callback))
        if len(outstanding) > OUTSTANDING:
            outstanding.popleft().cancel()
        if i % 1000 == 999:
            await asyncio.sleep(0)
    for handle in outstanding:
        handle.cancel()


async def queue_round_trip(n: int) -> None:
    """A request through one `Queue` and its answer through another; an operation is there and back."""
    requests: asyncio.Queue[int] = asyncio.Queue()
    answers: asyncio.Queue[int] = asyncio.Queue()

    async def answer() -> None:
        for _ in range(n):
            await answers.put(await requests.get())

    answering = asyncio.get_running_loop().create_task(answer())
    for i in range(n):
        await requests.put(i)
        await answers.get()
    await answering


async def event_round_trip(n: int) -> None:
    """Two tasks wake each other through two `Event`s; an operation is there and back."""
    ping, pong = asyncio.Event(), asyncio.Event()

    async def answer() -> None:
        for _ in range(n):
            await ping.wait()
            ping.clear()
            pong.set()

    answering = asyncio.get_running_loop().create_task(answer())
    for _ in range(n):
        ping.set()
        await pong.wait()
        pong.clear()
    await answering


IN_PROCESS: dict[str, Callable[[int], Awaitable[None]]] = {
    "create_await": create_await,
    "gather": gather,
    "gather_eager": gather_eager,
    "future_wakeup": future_wakeup,
    "call_soon": call_soon,
    "call_soon_chain": call_soon_chain,
    "sleep_zero": sleep_zero,
    "timer_fire": timer_fire,
    "timer_cancel": timer_cancel,
    "queue_round_trip": queue_round_trip,
    "event_round_trip": event_round_trip,
}

# ---- servers -----------------------------------------------------------------------------------------------


@dataclass
class Board:
    """Snapshots the server's resources when all of its connections are there and when the first one leaves.

    Servers without lasting connections (datagrams, accept and close) report none: the worker takes both.
    """

    expected: int
    seen: int = 0
    before: resource.struct_rusage | None = None
    after: resource.struct_rusage | None = None
    kept: list[object] = field(default_factory=list)

    def opened(self) -> None:
        self.seen += 1
        if self.seen == self.expected:
            self.before = resource.getrusage(resource.RUSAGE_SELF)

    def closed(self) -> None:
        if self.after is None:
            self.after = resource.getrusage(resource.RUSAGE_SELF)


Address = Any  # what getsockname() returns: host and port
Server = Callable[[Board, ssl.SSLContext | None], Awaitable[Address]]
HOST = "127.0.0.1"


async def protocol_echo(board: Board, tls: ssl.SSLContext | None) -> Address:
    """`asyncio.Protocol` that writes back what it is given."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            board.opened()

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

        def connection_lost(self, exc: Exception | None) -> None:
            board.closed()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0, ssl=tls, backlog=1024)
    board.kept.append(server)
    return server.sockets[0].getsockname()


async def streams_echo(board: Board, tls: ssl.SSLContext | None) -> Address:
    """Streams: read what is there, write it back, drain."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        board.opened()
        try:
            while data := await reader.read(1_000_000):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the load generator leaves in the middle of a message when its time is over
        finally:
            board.closed()
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=tls, backlog=1024, limit=1_000_000)
    board.kept.append(server)
    return server.sockets[0].getsockname()


async def sock_echo(board: Board, tls: ssl.SSLContext | None) -> Address:
    """`sock_accept`, `sock_recv` and `sock_sendall` on plain sockets, a task for each connection."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server((HOST, 0), backlog=1024)
    listener.setblocking(False)

    async def serve(connection: socket.socket) -> None:
        board.opened()
        try:
            while data := await loop.sock_recv(connection, 262_144):
                await loop.sock_sendall(connection, data)
        except ConnectionError:
            pass
        finally:
            board.closed()
            connection.close()

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            board.kept.append(loop.create_task(serve(connection)))

    board.kept += [listener, loop.create_task(accept())]
    return listener.getsockname()


async def datagram_echo(board: Board, tls: ssl.SSLContext | None) -> Address:
    """`asyncio.DatagramProtocol` that sends back what it is given."""

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, peer: Address) -> None:
            self.transport.sendto(data, peer)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0))
    board.kept.append(transport)
    return transport.get_extra_info("sockname")


async def accept_close(board: Board, tls: ssl.SSLContext | None) -> Address:
    """`asyncio.Protocol` that closes every connection as soon as it is made."""

    class Close(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Close, HOST, 0, backlog=1024)
    board.kept.append(server)
    return server.sockets[0].getsockname()


SERVERS: dict[str, Server] = {
    "protocol_echo": protocol_echo,
    "streams_echo": streams_echo,
    "sock_echo": sock_echo,
    "datagram_echo": datagram_echo,
    "accept_close": accept_close,
}
