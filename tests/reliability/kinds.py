"""One round of use of everything a loop hands out, for test_leaks.py: each opens, works, fails, closes.

A kind is an async function of a `Bench`; it must leave nothing behind when it returns. To be seen to
leak or not, it calls `bench.watch(object)` for what must be gone afterwards.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import tempfile
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

KINDS: dict[str, Callable[[Bench], Awaitable[None]]] = {}


@dataclass
class Bench:
    """What a round may use."""

    server_context: ssl.SSLContext
    client_context: ssl.SSLContext
    watched: list[weakref.ref[Any]] = field(default_factory=list)

    def watch(self, thing: Any) -> Any:
        self.watched.append(weakref.ref(thing))
        return thing


def kind(function: Callable[[Bench], Awaitable[None]]) -> Callable[[Bench], Awaitable[None]]:
    KINDS[function.__name__] = function
    return function


class Protocol(asyncio.Protocol):
    """Waits for the end of its connection."""

    def __init__(self, bench: Bench) -> None:
        bench.watch(self)
        self.bench = bench
        self.lost = asyncio.get_running_loop().create_future()
        self.data = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = self.bench.watch(transport)

    def data_received(self, data: bytes) -> None:
        if not self.data.done():
            self.data.set_result(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(None)


# ---------------------------------------------------------------- tasks, futures, handles


async def nothing() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("on purpose")


@kind
async def tasks_that_finish_fail_and_are_cancelled(bench: Bench) -> None:
    started = [asyncio.create_task(what()) for what in (nothing, fails, nothing)]
    started.append(asyncio.create_task(asyncio.sleep(100)))
    await asyncio.sleep(0)
    started[-1].cancel("enough")
    await asyncio.gather(*started, return_exceptions=True)
    for task in started:
        bench.watch(task)


@kind
async def tasks_cancelled_before_they_start(bench: Bench) -> None:
    task = bench.watch(asyncio.create_task(nothing()))
    task.cancel()
    await asyncio.wait([task])


@kind
async def task_groups_and_timeouts(bench: Bench) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            bench.watch(group.create_task(asyncio.sleep(100)))
            bench.watch(group.create_task(fails()))
    except* ValueError:
        pass
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(100)
    except TimeoutError:
        pass


@kind
async def futures_with_callbacks(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    for finish in (
        lambda future: future.set_result(1),
        lambda future: future.set_exception(ValueError()),
        lambda future: future.cancel(),
    ):
        future = bench.watch(loop.create_future())
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        future.add_done_callback(print)
        future.remove_done_callback(print)
        finish(future)
        await asyncio.wait([future])


@kind
async def queues_events_locks(bench: Bench) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    event, lock, condition = asyncio.Event(), asyncio.Lock(), asyncio.Condition()

    async def waits(condition: asyncio.Condition) -> None:
        async with condition:
            await condition.wait()

    waiting = [asyncio.create_task(call()) for call in (queue.get, event.wait, queue.get)]
    waiting.append(asyncio.create_task(waits(condition)))
    async with lock:
        waiting.append(asyncio.create_task(lock.acquire()))
        await asyncio.sleep(0)
        for task in waiting[2:]:
            task.cancel()
    await queue.put(1)
    event.set()
    await asyncio.wait([bench.watch(task) for task in waiting])


@kind
async def handles_run_and_cancelled(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(ran.append, 2).cancel()
    loop.call_soon_threadsafe(ran.append, 3)
    loop.call_later(0, ran.append, 4)
    loop.call_later(1000, ran.append, bench.watch(asyncio.Event())).cancel()
    loop.call_at(loop.time(), ran.append, 5)
    while len(ran) < 4:
        await asyncio.sleep(0.0005)


@kind
async def async_generators_left_half_way(bench: Bench) -> None:
    async def numbers():
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    async for number in numbers():
        if number == 2:
            break
    for _ in range(3):
        await asyncio.sleep(0)


@kind
async def executor_and_resolver(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(sum, (1, 2)) == 3
    await loop.getaddrinfo("127.0.0.1", 80)
    await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    try:
        await loop.run_in_executor(None, int, "x")
    except ValueError:
        pass


@kind
async def signal_handlers(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, came.set_result, True)
    os.kill(os.getpid(), signal.SIGUSR1)
    await came
    loop.remove_signal_handler(signal.SIGUSR1)


# ---------------------------------------------------------------- sockets


async def talk(bench: Bench, end: Callable[[Protocol, Protocol], None], **tls: Any) -> None:
    """A server, a client, a message each way, and `end(server's protocol, client's protocol)`."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    class Accepted(Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.set_result(self)

    server = bench.watch(await loop.create_server(lambda: Accepted(bench), "127.0.0.1", 0, ssl=tls.get("server")))
    port = server.sockets[0].getsockname()[1]
    name = "localhost" if tls else None
    _, client = await loop.create_connection(
        lambda: Protocol(bench), "127.0.0.1", port, ssl=tls.get("client"), server_hostname=name
    )
    near = await accepted
    client.transport.write(b"ping")
    assert await near.data == b"ping"
    near.transport.writelines([b"po", b"ng" * 50_000])
    await client.data
    end(near, client)
    await asyncio.wait([near.lost, client.lost])
    server.close()
    await server.wait_closed()


@kind
async def tcp_closed(bench: Bench) -> None:
    await talk(bench, lambda near, client: client.transport.close())


@kind
async def tcp_half_closed(bench: Bench) -> None:
    await talk(bench, lambda near, client: client.transport.write_eof())


@kind
async def tcp_aborted(bench: Bench) -> None:
    await talk(bench, lambda near, client: near.transport.abort())


@kind
async def tcp_closed_while_writing_is_paused(bench: Bench) -> None:
    def end(near: Protocol, client: Protocol) -> None:
        client.transport.pause_reading()
        near.transport.write(bytes(8 << 20))
        near.transport.abort()
        client.transport.abort()

    await talk(bench, end)


@kind
async def tls_closed(bench: Bench) -> None:
    def end(near: Protocol, client: Protocol) -> None:
        client.transport.close()

    await talk(bench, end, server=bench.server_context, client=bench.client_context)


@kind
async def tls_aborted(bench: Bench) -> None:
    def end(near: Protocol, client: Protocol) -> None:
        client.transport.abort()

    await talk(bench, end, server=bench.server_context, client=bench.client_context)


@kind
async def tls_handshake_refused(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the server's side reports the alert
    server = await loop.create_server(lambda: Protocol(bench), "127.0.0.1", 0, ssl=bench.server_context)
    try:
        await loop.create_connection(
            lambda: Protocol(bench), *server.sockets[0].getsockname(), ssl=ssl.create_default_context()
        )
    except ssl.SSLCertVerificationError:
        pass
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


@kind
async def streams_upgraded_by_start_tls(bench: Bench) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(bench.server_context)
        writer.write(await reader.readline())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    bench.watch(reader)
    bench.watch(writer)
    await writer.start_tls(bench.client_context, server_hostname="localhost")
    writer.write(b"line\n")
    assert await reader.readline() == b"line\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


@kind
async def unix_streams(bench: Bench) -> None:
    ends = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(asyncio.current_task())
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()

    name = f"\0segue-leaks-{os.getpid()}"
    server = await asyncio.start_unix_server(serve, name)
    reader, writer = await asyncio.open_unix_connection(name)
    bench.watch(bench.watch(writer).transport)
    writer.write(b"all")
    writer.write_eof()
    assert await reader.read() == b"all"
    writer.close()
    await writer.wait_closed()
    await asyncio.wait(ends)
    server.close()
    await server.wait_closed()


@kind
async def connection_refused(bench: Bench) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        try:
            await asyncio.get_running_loop().create_connection(lambda: Protocol(bench), *closed.getsockname())
        except ConnectionRefusedError:
            return
    raise AssertionError("the connection was not refused")


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, bench: Bench) -> None:
        bench.watch(self)
        loop = asyncio.get_running_loop()
        self.got, self.lost = loop.create_future(), loop.create_future()

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.got.set_result(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(None)


@kind
async def udp(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    server, received = await loop.create_datagram_endpoint(lambda: Datagrams(bench), ("127.0.0.1", 0))
    client, sender = await loop.create_datagram_endpoint(
        lambda: Datagrams(bench), remote_addr=server.get_extra_info("sockname")
    )
    bench.watch(server)
    bench.watch(client)
    client.sendto(b"datagram")
    assert await received.got == b"datagram"
    client.close()
    server.abort()
    await asyncio.wait([received.lost, sender.lost])


def unix_datagrams(path: str | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if path is not None:
        sock.bind(path)
    return sock


@kind
async def unix_datagrams_that_wait_are_refused_and_dropped(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/receiver"
        with unix_datagrams(path):
            transports = []
            for ending in ("close", "abort", "close"):
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: Datagrams(bench), sock=unix_datagrams()
                )
                transports.append((bench.watch(transport), protocol, ending))
                while not transport.get_write_buffer_size():
                    transport.sendto(b"data", path)
                transport.sendto(bytearray(b"more"), path)
        # The receiver is gone: what waits is refused, or dropped by abort.
        for transport, _, ending in transports:
            getattr(transport, ending)()
        await asyncio.wait([protocol.lost for _, protocol, _ in transports])


class Pauses(Datagrams):
    """Stops reading at the first datagram, so that those that came with it wait inside."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.pause_reading()
        self.got.set_result(address)


@kind
async def datagrams_received_and_never_delivered(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    server, received = await loop.create_datagram_endpoint(lambda: Pauses(bench), ("127.0.0.1", 0))
    clients = [
        await loop.create_datagram_endpoint(
            lambda: Datagrams(bench), remote_addr=server.get_extra_info("sockname")
        )
        for _ in range(6)
    ]
    for client, _ in clients:
        client.sendto(b"datagram")
        client.sendto(b"datagram")
    await received.got
    bench.watch(server)
    server.close()
    for client, _ in clients:
        client.close()
    await asyncio.wait([received.lost, *(sender.lost for _, sender in clients)])


@kind
async def socket_coroutines_for_datagrams(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        to = theirs.getsockname()
        for receive in (lambda: loop.sock_recvfrom(theirs, 100), lambda: loop.sock_recvfrom_into(theirs, bytearray(9))):
            waiting = bench.watch(asyncio.create_task(receive()))
            await asyncio.sleep(0)
            await loop.sock_sendto(ours, b"datagram", to)
            assert (await waiting)[1] == ours.getsockname()
            waiting = bench.watch(asyncio.create_task(receive()))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        try:
            await loop.sock_sendto(ours, bytes(70_000), to)
        except OSError:
            pass


@kind
async def socket_coroutines_cut_short(bench: Bench) -> None:
    """Cancelled while they send and receive, closed under them, failed, and replaced by a reader."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        tasks = [
            asyncio.create_task(loop.sock_sendall(left, bytearray(1_000_000))),
            asyncio.create_task(loop.sock_recv_into(left, bytearray(100))),
        ]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        loop.add_reader(left, int)
        loop.remove_reader(left)
        tasks[1].cancel()
        tasks.append(asyncio.create_task(loop.sock_recv(left, 100)))
        await asyncio.sleep(0)
        right.close()
        await asyncio.wait(tasks)
        tasks[2].exception()
        left_again = asyncio.create_task(loop.sock_accept(left))
        await asyncio.wait([left_again])
        left_again.exception()
        for task in (*tasks, left_again):
            bench.watch(task)
    tasks.clear()


@kind
async def socket_coroutines(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with socket.socket() as client:
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            accepted, _ = await accepting
            with accepted:
                await loop.sock_sendall(client, b"bytes")
                assert await loop.sock_recv(accepted, 100) == b"bytes"
                waiting = bench.watch(asyncio.create_task(loop.sock_recv(accepted, 100)))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
        accepting = bench.watch(asyncio.create_task(loop.sock_accept(listener)))
        await asyncio.sleep(0)
        accepting.cancel()
        await asyncio.wait([accepting])


@kind
async def readers_and_writers(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    with left, right:
        readable, writable = loop.create_future(), loop.create_future()
        loop.add_reader(left, lambda: readable.done() or readable.set_result(1))
        loop.add_writer(left, lambda: writable.done() or writable.set_result(1))
        right.send(b"x")
        await asyncio.gather(readable, writable)
        loop.remove_reader(left)
        loop.remove_writer(left)


@kind
async def sendfile(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    transport, near = await loop.create_connection(lambda: Protocol(bench), sock=left)
    far_transport, far = await loop.create_connection(lambda: Protocol(bench), sock=right)
    with tempfile.TemporaryFile() as file:
        file.write(b"z" * 10_000)
        file.seek(0)
        assert await loop.sendfile(transport, file) == 10_000
    await far.data
    transport.close()
    far_transport.close()
    await asyncio.wait([near.lost, far.lost])


# ---------------------------------------------------------------- pipes and processes


@kind
async def pipes(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    read_transport, reader = await loop.connect_read_pipe(lambda: Protocol(bench), os.fdopen(read_end, "rb", 0))
    write_transport, writer = await loop.connect_write_pipe(lambda: Protocol(bench), os.fdopen(write_end, "wb", 0))
    write_transport.write(b"through")
    assert await reader.data == b"through"
    write_transport.close()
    await asyncio.wait([reader.lost, writer.lost])
    read_transport.close()


@kind
async def processes(bench: Bench) -> None:
    process = bench.watch(
        await asyncio.create_subprocess_exec(
            "cat",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    assert await process.communicate(b"meow") == (b"meow", b"")
    killed = bench.watch(await asyncio.create_subprocess_exec("sleep", "100"))
    killed.kill()
    assert await killed.wait() == -signal.SIGKILL
    try:
        await asyncio.create_subprocess_exec("no-such-program-anywhere")
    except FileNotFoundError:
        pass
    for _ in range(3):
        await asyncio.sleep(0)
