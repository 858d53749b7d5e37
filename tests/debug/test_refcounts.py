"""Nothing is left behind: each hot path is run many times, and what exists before and after is compared.

Counted are objects by type (`gc.get_objects`), references where the interpreter counts them
(`sys.gettotalrefcount`, debug builds), bytes held by Python's allocator (`tracemalloc`) and open descriptors.
Memory that the core itself allocates is the reliability tests' business (resident memory over a million
operations).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import segue
import segue.log
import trustme
from segue._explain import failures
from segue.inspect import explain

# A leak of one object in each round shows as ROUNDS more in each window of ROUNDS.
WARM_UP = 5
ROUNDS = 20
WINDOWS = 8
ALLOWED_OBJECTS = ROUNDS // 2
ALLOWED_REFERENCES = ROUNDS // 2
ALLOWED_BYTES = ROUNDS * 40
"""For each round less than any object that the collector looks after."""

Path = Callable[[], Awaitable[None]]
PATHS: dict[str, Path] = {}


def path(function: Path) -> Path:
    PATHS[function.__name__] = function
    return function


async def noop(value: object = None) -> object:
    return value


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Sends a message, waits for as much as it sent, and can wait for the end of its connection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answered = loop.create_future()
        self.lost = loop.create_future()
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    async def ask(self, message: bytes) -> None:
        self.missing += len(message)
        self.transport.write(message)
        await self.answered

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing == 0:
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


# ---- tasks, futures, callbacks, timers -----------------------------------------------------------


@path
async def tasks() -> None:
    results = await asyncio.gather(*(asyncio.create_task(noop(i), name=f"n{i}") for i in range(20)))
    assert results == list(range(20))


@path
async def futures_with_callbacks() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(10):
        future = loop.create_future()
        called: list[object] = []
        future.add_done_callback(called.append)
        future.add_done_callback(lambda f, called=called: called.append(f))
        future.add_done_callback(print)
        assert future.remove_done_callback(print) == 1
        loop.call_soon(future.set_result, "result")
        assert await future == "result"
        await asyncio.sleep(0)
        assert called == [future, future]


@path
async def future_failed() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("expected"))
    with contextlib.suppress(ValueError):
        await future


@path
async def failures_explained() -> None:
    async def fail() -> None:
        raise LookupError("expected")

    failures.start_noting()
    try:
        tasks = [asyncio.create_task(fail()), asyncio.create_task(asyncio.Event().wait())]
        waiting = asyncio.gather(*tasks)
        with contextlib.suppress(LookupError):
            await waiting
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert "beside it in the gather()" in str(explain(tasks[0]))
        assert "cancelled by Task.cancel" in str(explain(tasks[1]))
    finally:
        failures.stop_noting()


@path
async def records_through_a_handler() -> None:
    handler = segue.log.Handler(logging.NullHandler(), capacity=3)
    for number in range(10):
        handler.handle(logging.LogRecord("x", logging.INFO, __file__, 1, "%d", (number,), None))
    handler.close()


@path
async def callbacks() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    for i in range(20):
        loop.call_soon(int, i)
        loop.call_soon(int, i).cancel()
    loop.call_soon_threadsafe(done.set_result, None)
    await done


@path
async def timers() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    for i in range(20):
        loop.call_later(3600 + i, int).cancel()
        loop.call_at(loop.time(), int)
    loop.call_later(0, done.set_result, None)
    await done
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.sleep(10)


@path
async def tasks_cancelled() -> None:
    waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(10)]
    not_begun = [asyncio.create_task(noop()) for _ in range(10)]
    for task in not_begun:
        task.cancel("early")
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    results = await asyncio.gather(*waiting, *not_begun, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


@path
async def tasks_failed() -> None:
    async def fail(depth: int) -> None:
        if depth:
            await fail(depth - 1)
        raise ValueError(depth)

    results = await asyncio.gather(*(fail(5) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(1))
            group.create_task(asyncio.Event().wait())


@path
async def exceptions_never_retrieved() -> None:
    async def fail() -> None:
        raise ValueError("nobody asks")

    loop = asyncio.get_running_loop()
    seen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    task = asyncio.create_task(fail())
    loop.call_soon(int, "not a number")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    assert sorted(context["message"].split()[0] for context in seen) == ["Exception", "Task"]
    loop.set_exception_handler(None)


@path
async def queues_and_locks() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    lock = asyncio.Lock()

    async def produce() -> None:
        for i in range(10):
            async with lock:
                await queue.put(i)

    producer = asyncio.create_task(produce())
    assert [await queue.get() for _ in range(10)] == list(range(10))
    await producer


@path
async def async_generators() -> None:
    async def count() -> Any:
        for i in range(5):
            await asyncio.sleep(0)
            yield i

    assert [i async for i in count()] == [0, 1, 2, 3, 4]
    async for _ in count():
        break  # the loop's hooks finish it
    gc.collect()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


# ---- network -------------------------------------------------------------------------------------


@path
async def tcp_protocols() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for size in (10, 100_000, 3_000_000):
        _, client = await loop.create_connection(Client, *address[:2])
        await client.ask(b"x" * size)
        client.transport.close()
        await client.lost
    _, client = await loop.create_connection(Client, *address[:2])
    client.transport.write(b"x" * 3_000_000)
    client.transport.abort()
    await client.lost
    server.close()
    await server.wait_closed()


@path
async def tcp_streams() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(10):
            writer.write(b"a line\n")
            assert await reader.readline() == b"a line\n"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@path
async def unix_sockets_and_datagrams() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    _, client = await loop.create_connection(Client, sock=ours)
    transport, _ = await loop.create_connection(Echo, sock=theirs)
    await client.ask(b"over a pair")
    transport.close()
    await client.lost

    received = loop.create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.set_result(data)

    datagrams, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    datagrams.sendto(b"to myself", datagrams.get_extra_info("sockname"))
    assert await received == b"to myself"
    datagrams.close()
    await asyncio.sleep(0)


@path
async def sockets() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        receiving = asyncio.create_task(loop.sock_recv(theirs, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(ours, b"bytes")
        assert await receiving == b"bytes"
        waiting = asyncio.create_task(loop.sock_recv(theirs, 100))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        readable = loop.create_future()
        loop.add_reader(theirs, readable.set_result, None)
        ours.send(b"x")
        await readable
        assert loop.remove_reader(theirs)


@path
async def datagrams_between_peers() -> None:
    loop = asyncio.get_running_loop()

    class Noting(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.received: list[object] = []

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.received.append(addr)
            if data == b"raise":
                raise LookupError

    server, noting = await loop.create_datagram_endpoint(Noting, local_addr=("127.0.0.1", 0))
    to = server.get_extra_info("sockname")
    clients = [await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=to) for _ in range(6)]
    reports: list[object] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    for client, _ in clients:
        client.sendto(b"data")
        client.sendto(memoryview(b"raise"))
        client.sendto(bytearray(3), to)
    while len(noting.received) < 18:
        await asyncio.sleep(0)
    server.sendto(b"back", noting.received[-1])
    server.sendto(b"back", tuple(noting.received[0]))
    server.sendto(b"data", 5)
    for client, _ in clients:
        client.close()
    await asyncio.sleep(0)
    assert len(reports) == 7
    loop.set_exception_handler(None)


@path
async def socket_operations() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        for sock in (ours, theirs, listener, client):
            sock.setblocking(False)
        accepting = asyncio.create_task(loop.sock_accept(listener))
        await asyncio.sleep(0)
        await loop.sock_connect(client, listener.getsockname())
        (await accepting)[0].close()
        buffer = bytearray(100)
        for receive in (
            lambda: loop.sock_recv_into(theirs, buffer),
            lambda: loop.sock_recvfrom(theirs, 100),
            lambda: loop.sock_recvfrom_into(theirs, buffer),
        ):
            receiving = asyncio.create_task(receive())
            await asyncio.sleep(0)
            await loop.sock_sendall(ours, b"bytes")
            await receiving
        sending = asyncio.create_task(loop.sock_sendall(ours, bytearray(1_000_000)))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        assert await loop.getaddrinfo("127.0.0.1", 80)
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        ours.close()
        waiting = asyncio.create_task(loop.sock_sendall(theirs, b"x"))
        with contextlib.suppress(OSError):
            await waiting


@path
async def refused_connections() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with contextlib.suppress(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


TLS = tls_contexts()


@path
async def tls() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=TLS[0])
    address = server.sockets[0].getsockname()
    _, client = await loop.create_connection(Client, *address[:2], ssl=TLS[1], server_hostname="localhost")
    await client.ask(b"x" * 100_000)
    client.transport.close()
    await client.lost
    with contextlib.suppress(ssl.SSLError):
        untrusting = ssl.create_default_context()
        await loop.create_connection(Client, *address[:2], ssl=untrusting, server_hostname="localhost")
    server.close()
    await server.wait_closed()


# ---- structured concurrency -----------------------------------------------------------------------


class Waiting:
    async def wait(self, event: segue.Event) -> None:
        await event.wait()


@path
async def nurseries() -> None:
    event = segue.Event()
    waiting = Waiting()
    async with segue.open_nursery() as nursery:
        for i in range(10):
            nursery.start_soon(noop, i)
            nursery.start_soon(waiting.wait, event, name=f"n{i}")
        nursery.start_soon(functools.partial(waiting.wait, event))
        assert len(nursery.child_tasks) == 21
        await segue.sleep(0)
        event.set()
    with segue.move_on_after(0):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep_forever)
            nursery.start_soon(waiting.wait, segue.Event())


async def failing(text: str) -> None:
    await segue.sleep(0)
    raise ValueError(text)


@path
async def nurseries_that_fail() -> None:
    with contextlib.suppress(ExceptionGroup):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(failing, "expected")
            nursery.start_soon(segue.sleep_forever)


@path
async def channels_and_locks() -> None:
    send, receive = segue.open_memory_channel[int](0)
    lock, limiter, event = segue.Lock(), segue.CapacityLimiter(2), segue.Event()

    async def produce() -> None:
        async with send:
            for i in range(10):
                async with lock, limiter:
                    await send.send(i)
        event.set()

    async with segue.open_nursery() as nursery:
        nursery.start_soon(produce)
        assert [i async for i in receive] == list(range(10))
    await event.wait()


# ---- processes, signals, threads -----------------------------------------------------------------


@path
async def processes() -> None:
    child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert await child.communicate(b"through a pipe") == (b"through a pipe", None)
    assert child.returncode == 0


@path
async def signals() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, arrived.set_result, None)
    os.kill(os.getpid(), signal.SIGUSR1)
    await arrived
    assert loop.remove_signal_handler(signal.SIGUSR1)


@path
async def threads() -> None:
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(str, 5) == "5"
    assert await loop.run_in_executor(None, int, "5") == 5
    with contextlib.suppress(ValueError):
        await loop.run_in_executor(None, int, "five")


# ---- the measurement -----------------------------------------------------------------------------


def settle() -> None:
    for _ in range(3):
        gc.collect()
    if sys.version_info < (3, 12):
        sys._clear_type_cache()  # it keeps every name that was ever looked up: debug mode makes reprs, which make names


def objects() -> Counter[str]:
    return Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())


def references() -> int:
    count: Callable[[], int] = getattr(sys, "gettotalrefcount", lambda: 0)
    return count()


async def repeat(function: Path, rounds: int) -> None:
    for _ in range(rounds):
        await function()
    for _ in range(3):
        await asyncio.sleep(0)


class Measure:
    """What exists at one moment."""

    def __init__(self) -> None:
        settle()
        self.bytes = tracemalloc.get_traced_memory()[0]
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.references = references()
        self.objects = objects()

    def growth_since(self, before: Measure) -> dict[str, int]:
        """What has grown by as much as a leak in each round would make it grow."""
        more = self.objects - before.objects
        growth = {kind: count for kind, count in more.items() if count >= ALLOWED_OBJECTS}
        for name, allowed in (
            ("references", ALLOWED_REFERENCES),
            ("bytes", ALLOWED_BYTES),
            ("descriptors", ALLOWED_OBJECTS),
        ):
            difference = getattr(self, name) - getattr(before, name)
            if difference >= allowed:
                growth[name] = difference
        return growth


def leaks(run_rounds: Callable[[int], None]) -> dict[str, int]:
    """What grows in every window of ROUNDS rounds; empty if there is a window in which nothing does.

    A leak is in every window. Caches and free lists fill up in some of them.
    """
    tracemalloc.start()
    try:
        run_rounds(WARM_UP)
        before = Measure()
        found: dict[str, int] = {}
        for window in range(WINDOWS):
            run_rounds(ROUNDS)
            after = Measure()
            growth = after.growth_since(before)
            found = {kind: growth[kind] for kind in growth if window == 0 or kind in found}
            if not found:
                break
            before = after
        return found
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def nothing_is_logged() -> Iterator[None]:
    """pytest keeps every record of a test until its end, and with it the traceback, its frames and their objects."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", PATHS)
def test_nothing_is_left(name: str) -> None:
    with segue.Runner() as runner:
        assert not leaks(lambda rounds: runner.run(repeat(PATHS[name], rounds)))


def test_a_leak_is_found() -> None:
    """The measurement itself finds an object that is kept in each round."""
    kept: list[object] = []

    async def leaky() -> None:
        kept.append(asyncio.get_running_loop().create_future())

    with segue.Runner() as runner:
        assert "segue._core.Future" in leaks(lambda rounds: runner.run(repeat(leaky, rounds)))


def test_loops_go_away() -> None:
    def use(rounds: int) -> None:
        for _ in range(rounds):
            # Not a Runner: its look at the SIGINT handler makes a repr, whose parts CPython 3.11 caches for ever.
            with contextlib.closing(segue.new_event_loop()) as loop:
                loop.run_until_complete(repeat(tasks, 1))
                loop.run_until_complete(loop.shutdown_asyncgens())

    assert not leaks(use)
