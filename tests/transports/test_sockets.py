"""The `sock_…` coroutines, on asyncio and on Segue."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import gc
import inspect
import os
import socket
import ssl
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import segue
from on_either_loop import Run

COROUTINES = [
    "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto", "sock_accept",
    "sock_connect",
]  # fmt: skip


@contextlib.contextmanager
def pair(kind: int = socket.SOCK_STREAM) -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def loop() -> Any:
    return asyncio.get_running_loop()


async def started(coroutine: Any) -> asyncio.Task[Any]:
    """A task that has reached the point at which it waits."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


def is_watched(sock: socket.socket) -> bool:
    """Whether a reader or a writer is there; looked at through remove_reader and remove_writer, so only once."""
    return loop().remove_reader(sock) | loop().remove_writer(sock)


# ---------------------------------------------------------------- what they are


@pytest.mark.parametrize("name", COROUTINES)
def test_they_are_coroutine_functions(run: Run, name: str) -> None:
    async def main() -> None:
        assert inspect.iscoroutinefunction(getattr(loop(), name))
        assert inspect.iscoroutinefunction(getattr(type(loop()), name))

    run(main())


def test_nothing_happens_before_the_await_and_never_awaited_warns(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            ours.send(b"stays")
            with pytest.warns(RuntimeWarning, match="was never awaited"):
                loop().sock_recv(theirs, 100)
                gc.collect()
            assert await loop().sock_recv(theirs, 100) == b"stays"

    run(main())


def test_run_until_complete_takes_them(run: Run) -> None:
    own = asyncio.SelectorEventLoop() if run.loop_name == "asyncio" else segue.EventLoop()
    with contextlib.closing(own), pair() as (ours, theirs):
        own.call_later(0.001, ours.send, b"later")
        assert own.run_until_complete(own.sock_recv(theirs, 100)) == b"later"


# ---------------------------------------------------------------- each of them


def test_receiving(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            ours.send(b"at once")
            assert await loop().sock_recv(theirs, 3) == b"at "
            assert await loop().sock_recv(theirs, 100) == b"once"
            waiting = await started(loop().sock_recv(theirs, 100))
            ours.send(b"later")
            assert await waiting == b"later"
            buffer = bytearray(10)
            into = await started(loop().sock_recv_into(theirs, buffer))
            ours.send(b"into")
            assert await into == 4
            ours.send(b"view")
            assert await loop().sock_recv_into(theirs, memoryview(buffer)[4:8]) == 4
            assert buffer == b"intoview\0\0"
            numbers = array.array("I", [0] * 4)
            ours.send(bytes(16))
            assert await loop().sock_recv_into(theirs, numbers) == 16
            ending = await started(loop().sock_recv(theirs, 100))
            ours.shutdown(socket.SHUT_WR)
            assert await ending == b""
            assert await loop().sock_recv(theirs, 100) == b""
            assert await loop().sock_recv_into(theirs, buffer) == 0

    run(main())


@pytest.mark.parametrize("n", [0, 1 << 20])
def test_receiving_nothing_or_more_than_a_buffer(run: Run, n: int) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            ours.send(b"x" * 1000)
            assert await loop().sock_recv(theirs, n) == b"x" * min(n, 1000)

    run(main())


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("sock_recv", (-1,), ValueError),
        ("sock_recv", ("5",), TypeError),
        ("sock_recv", (None,), TypeError),
        ("sock_recv_into", (b"read-only",), (TypeError, BufferError)),
        ("sock_recv_into", (5,), TypeError),
        ("sock_recvfrom", (-1,), ValueError),
        ("sock_recvfrom_into", (bytearray(2), 5), ValueError),
        ("sock_recvfrom_into", (bytearray(2), -1), ValueError),
        ("sock_sendall", ("text",), TypeError),
        ("sock_sendall", (None,), TypeError),
        ("sock_sendto", (b"x", "127.0.0.1"), TypeError),
        ("sock_sendto", ("text", ("127.0.0.1", 1)), TypeError),
        ("sock_sendto", (b"x", ("127.0.0.1", 1 << 16)), OverflowError),
    ],
)
def test_wrong_arguments(run: Run, name: str, arguments: Any, error: Any) -> None:
    async def main() -> None:
        with udp() as sock:
            sock.sendto(b"something is there", sock.getsockname())
            with pytest.raises(error):
                await getattr(loop(), name)(sock, *arguments)
            assert not is_watched(sock)

    run(main())


def test_sending_more_than_fits(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            data = bytearray(os.urandom(3_000_000))
            sending = await started(loop().sock_sendall(ours, data))
            with pytest.raises(BufferError):
                data.append(1)  # it is in use until everything is sent
            got = bytearray()
            while len(got) < len(data):
                got += await loop().sock_recv(theirs, 100_000)
            assert await sending is None
            assert got == data
            data.append(1)
            assert await loop().sock_sendall(ours, b"") is None
            assert await loop().sock_sendall(ours, memoryview(b"abcdef")[::1][2:]) is None
            assert await loop().sock_recv(theirs, 100) == b"cdef"

    run(main())


def test_both_directions_of_one_socket_wait_at_once(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            data = os.urandom(2_000_000)
            sending = await started(loop().sock_sendall(ours, data))
            receiving = await started(loop().sock_recv(ours, 100))
            theirs.send(b"one")
            assert await receiving == b"one"
            receiving = await started(loop().sock_recv(ours, 100))
            got = bytearray()
            while len(got) < len(data):
                got += await loop().sock_recv(theirs, 1 << 16)
            await sending
            assert got == data
            assert not receiving.done()
            theirs.send(b"two")
            assert await receiving == b"two"

    run(main())


def test_datagrams(run: Run) -> None:
    async def main() -> None:
        with udp() as ours, udp() as theirs:
            to = theirs.getsockname()
            receiving = await started(loop().sock_recvfrom(theirs, 100))
            assert await loop().sock_sendto(ours, b"data", to) == 4
            assert await receiving == (b"data", ours.getsockname())
            assert await loop().sock_sendto(ours, b"", ("localhost", to[1])) == 0
            assert await loop().sock_recvfrom(theirs, 100) == (b"", ours.getsockname())
            buffer = bytearray(10)
            receiving = await started(loop().sock_recvfrom_into(theirs, buffer))
            await loop().sock_sendto(ours, b"into", to)
            assert await receiving == (4, ours.getsockname())
            await loop().sock_sendto(ours, b"cut off", to)
            assert await loop().sock_recvfrom_into(theirs, memoryview(buffer)[4:], 3) == (3, ours.getsockname())
            assert buffer == b"intocut\0\0\0"
            with pytest.raises(OSError, match="Message too long") as caught:
                await loop().sock_sendto(ours, bytes(70000), to)
            assert caught.value.errno == errno.EMSGSIZE

    run(main())


def test_datagrams_without_an_address_and_on_a_stream(run: Run) -> None:
    async def main() -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with pair(kind) as (ours, theirs):
                ours.send(b"data")
                expected = theirs.recvfrom(100)
                ours.send(b"data")
                assert await loop().sock_recvfrom(theirs, 100) == expected
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    accepted.setblocking(False)
                    client.sendall(b"data")
                    assert await loop().sock_recvfrom(accepted, 100) == (b"data", None)

    run(main())


def test_sending_a_datagram_waits_for_room(run: Run) -> None:
    async def main() -> None:
        with pair(socket.SOCK_DGRAM) as (ours, theirs):
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(b"%d" % sent)
                    sent += 1
            sending = await started(loop().sock_sendall(ours, b"last"))
            for n in range(sent):
                assert await loop().sock_recv(theirs, 100) == b"%d" % n
            await sending
            assert await loop().sock_recv(theirs, 100) == b"last"

    run(main())


def test_accepting(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as first, socket.socket() as second:
            server.setblocking(False)
            accepting = await started(loop().sock_accept(server))
            for client in (first, second):
                client.setblocking(False)
                await loop().sock_connect(client, server.getsockname())
            for client, (accepted, address) in zip(
                (first, second), (await accepting, await loop().sock_accept(server)), strict=True
            ):
                with accepted:
                    assert type(accepted) is socket.socket
                    assert accepted.gettimeout() == 0.0
                    assert not accepted.get_inheritable()
                    assert (accepted.family, accepted.type) == (socket.AF_INET, socket.SOCK_STREAM)
                    assert address == client.getsockname() == accepted.getpeername()
                    await loop().sock_sendall(client, b"hello")
                    assert await loop().sock_recv(accepted, 100) == b"hello"

    run(main())


def test_accepting_on_unix_and_v6(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(tmp_path / "server"))
            server.listen()
            server.setblocking(False)
            client.connect(str(tmp_path / "server"))
            accepted, address = await loop().sock_accept(server)
            accepted.close()
            assert address == ""
        with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            server.setblocking(False)
            with socket.create_connection(server.getsockname()[:2]) as client:
                accepted, address = await loop().sock_accept(server)
                accepted.close()
                assert address == client.getsockname()

    run(main())


def test_accepted_sockets_of_a_server_do_not_block(run: Run) -> None:
    async def main() -> None:
        made = loop().create_future()

        class Looks(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                sock = transport.get_extra_info("socket")
                made.set_result((sock.gettimeout(), sock.type, sock.family))
                transport.close()

        server = await loop().create_server(Looks, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            assert await made == (0.0, socket.SOCK_STREAM, socket.AF_INET)
        server.close()
        await server.wait_closed()

    run(main())


# ---------------------------------------------------------------- which sockets


@pytest.mark.parametrize("name", COROUTINES)
def test_debug_mode_refuses_blocking_sockets(run: Run, name: str) -> None:
    arguments: dict[str, Any] = {
        "sock_recv": (1,), "sock_recv_into": (bytearray(1),), "sock_recvfrom": (1,),
        "sock_recvfrom_into": (bytearray(1),), "sock_sendall": (b"x",), "sock_sendto": (b"x", ("127.0.0.1", 1)),
        "sock_accept": (), "sock_connect": (("127.0.0.1", 1),),
    }  # fmt: skip

    async def main() -> None:
        with socket.socket() as sock:
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await getattr(loop(), name)(sock, *arguments[name])

    run.debug = True
    run(main())


def test_a_tls_socket_is_refused(run: Run) -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        with pair() as (ours, _):
            wrapped = context.wrap_socket(ours, server_hostname="host", do_handshake_on_connect=False)
            with wrapped:
                for coroutine in (
                    loop().sock_recv(wrapped, 1),
                    loop().sock_recv_into(wrapped, bytearray(1)),
                    loop().sock_sendall(wrapped, b"x"),
                    loop().sock_accept(wrapped),
                ):
                    with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                        await coroutine

    run(main())


def test_a_subclass_is_asked_itself(run: Run) -> None:
    class Shouting(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    async def main() -> None:
        with pair() as (ours, theirs):
            sock = Shouting(fileno=theirs.detach())
            sock.setblocking(False)
            with sock:
                receiving = await started(loop().sock_recv(sock, 100))
                ours.send(b"quiet")
                assert await receiving == b"QUIET"

    run(main())


def test_a_socket_with_a_timeout_waits_as_it_says(run: Run) -> None:
    """Not in debug mode, a blocking socket is the caller's fault, and blocks."""

    async def main() -> None:
        with pair() as (ours, theirs):
            theirs.settimeout(0.01)
            with pytest.raises(TimeoutError):
                await loop().sock_recv(theirs, 100)
            ours.send(b"x")
            assert await loop().sock_recv(theirs, 100) == b"x"

    run(main())


def test_errors(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            theirs.close()
            with pytest.raises(BrokenPipeError) as broken:
                await loop().sock_sendall(ours, b"x")
            assert broken.value.args == (errno.EPIPE, "Broken pipe")
            with pytest.raises(OSError, match="Bad file descriptor"):
                await loop().sock_recv(theirs, 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    accepted.setblocking(False)
                    receiving = await started(loop().sock_recv(accepted, 100))
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    client.close()
                    with pytest.raises(ConnectionResetError):
                        await receiving
        with socket.socket() as not_listening:
            not_listening.setblocking(False)
            with pytest.raises(OSError, match="Invalid argument"):
                await loop().sock_accept(not_listening)

    run(main())


def test_the_descriptor_of_a_transport_is_refused(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            transport, _ = await loop().create_connection(asyncio.Protocol, sock=ours)
            transport.pause_reading()
            same = socket.socket(fileno=ours.fileno())
            with pytest.raises(RuntimeError, match=f"File descriptor {ours.fileno()} is used by transport"):
                await loop().sock_recv(same, 100)
            same.detach()
            transport.close()
            await asyncio.sleep(0)

    run(main())


# ---------------------------------------------------------------- cancelling, closing, reuse


@pytest.mark.parametrize("name", ["sock_recv", "sock_sendall", "sock_recvfrom", "sock_recv_into"])
def test_cancelling_watches_no_more_and_loses_nothing(run: Run, name: str) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            if name == "sock_sendall":
                with contextlib.suppress(BlockingIOError):
                    while True:
                        theirs.send(bytes(10_000))
            arguments: dict[str, Any] = {"sock_sendall": b"never", "sock_recv_into": bytearray(100)}
            await cancelled(await started(getattr(loop(), name)(theirs, arguments.get(name, 100))))
            assert not is_watched(theirs)
            ours.send(b"all of it")
            await asyncio.sleep(0.001)
            assert await loop().sock_recv(theirs, 100) == b"all of it"

    run(main())


def test_timeouts(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await loop().sock_recv(theirs, 100)
            ours.send(b"data")
            assert await loop().sock_recv(theirs, 100) == b"data"

    run(main())


def test_a_coroutine_that_is_closed_while_it_waits(run: Run) -> None:
    async def main() -> None:
        with pair() as (_, theirs):
            coroutine = loop().sock_recv(theirs, 100)
            coroutine.send(None)
            coroutine.close()
            if run.loop_name == "segue":
                assert not is_watched(theirs)
            loop().remove_reader(theirs)

    run(main())


def test_closing_the_socket_while_something_waits(run: Run) -> None:
    """It goes on waiting, as nobody hears of a closed descriptor; cancelling it is no error."""

    async def main() -> None:
        with pair() as (_, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            theirs.close()
            await asyncio.sleep(0.005)
            assert not receiving.done()
            await cancelled(receiving)

    run(main())


def test_the_next_socket_with_the_same_number(run: Run) -> None:
    """Operation after operation on sockets that are closed and come again under the same number."""

    async def main() -> None:
        numbers = set()
        for n in range(20):
            with pair() as (ours, theirs):
                numbers.add(theirs.fileno())
                receiving = await started(loop().sock_recv(theirs, 100))
                ours.send(b"%d" % n)
                assert await receiving == b"%d" % n
                if n % 3 == 0:
                    await cancelled(await started(loop().sock_recv(theirs, 100)))
        assert len(numbers) < 20

    run(main())


def test_an_abandoned_operation_never_touches_the_next_socket(run: Run) -> None:
    """Closed while it sends; the next socket gets the number and must not get the bytes.

    asyncio refuses the next operation then (FileNotFoundError out of its selector), which is another way to keep that.
    """

    async def main() -> None:
        with pair() as (ours, theirs):
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(10_000))
            abandoned = await started(loop().sock_sendall(ours, b"for the old socket"))
            number = ours.fileno()
            ours.close()
            new, peer = socket.socketpair()
            with new, peer:
                assert number in (new.fileno(), peer.fileno())
                sock, other = (new, peer) if new.fileno() == number else (peer, new)
                sock.setblocking(False)
                other.setblocking(False)
                receiving = asyncio.create_task(loop().sock_recv(sock, 100))
                await asyncio.sleep(0.005)
                with pytest.raises(BlockingIOError):
                    other.recv(100)
                other.send(b"for the new one")
                if run.loop_name == "asyncio":
                    await asyncio.wait([receiving])
                    assert isinstance(receiving.exception(), FileNotFoundError)
                else:
                    assert await receiving == b"for the new one"
                abandoned.cancel()
                await asyncio.wait([abandoned])

    run(main())


def test_dup2_over_a_socket(run: Run) -> None:
    """The number and the Python object stay, the open file is another."""

    async def main() -> None:
        with pair() as (_, theirs), pair() as (other, end):
            await cancelled(await started(loop().sock_recv(theirs, 100)))
            other.send(b"first")
            os.dup2(end.fileno(), theirs.fileno())
            assert await loop().sock_recv(theirs, 100) == b"first"
            receiving = await started(loop().sock_recv(theirs, 100))
            other.send(b"second")
            assert await receiving == b"second"

    run(main())


def test_a_child_process_that_keeps_the_socket(run: Run) -> None:
    """The open file outlives the descriptor here; nothing of it comes back, and the number serves again."""

    async def main() -> None:
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            ours.send(b"data")
            await receiving
            held = os.dup(theirs.fileno())
            number = theirs.fileno()
            theirs.close()
            ours.send(b"for nobody")
            with pair() as (new, end):
                sock = new if new.fileno() == number else end
                other = end if sock is new else new
                assert sock.fileno() == number
                receiving = await started(loop().sock_recv(sock, 100))
                other.send(b"new")
                assert await receiving == b"new"
            os.close(held)

    run(main())


def test_a_socket_moves_to_another_loop_and_back(run: Run) -> None:
    make = asyncio.SelectorEventLoop if run.loop_name == "asyncio" else segue.EventLoop
    with pair() as (ours, theirs), contextlib.closing(make()) as one, contextlib.closing(make()) as two:
        for n, own in enumerate([one, two, one, two]):
            own.call_later(0.001, ours.send, b"%d" % n)
            assert own.run_until_complete(own.sock_recv(theirs, 100)) == b"%d" % n


# ---------------------------------------------------------------- together with add_reader and transports


def test_add_reader_replaces_a_waiting_operation(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            readable = loop().create_future()
            loop().add_reader(theirs, lambda: readable.done() or readable.set_result(theirs.recv(100)))
            ours.send(b"for the reader")
            assert await readable == b"for the reader"
            assert not receiving.done()
            await cancelled(receiving)
            # The reader is not the operation's, so it stays.
            again = loop().create_future()
            loop().add_reader(theirs, lambda: again.done() or again.set_result(theirs.recv(100)))
            ours.send(b"more")
            assert await again == b"more"
            assert loop().remove_reader(theirs)
            assert not loop().remove_reader(theirs)

    run(main())


def test_an_operation_replaces_a_reader(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            loop().add_reader(theirs, pytest.fail, "the reader was called")
            receiving = await started(loop().sock_recv(theirs, 100))
            ours.send(b"data")
            assert await receiving == b"data"
            await asyncio.sleep(0.001)
            assert not is_watched(theirs)

    run(main())


def test_remove_reader_takes_an_operation_away(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            assert loop().remove_reader(theirs)
            ours.send(b"data")
            await asyncio.sleep(0.005)
            assert not receiving.done()
            await cancelled(receiving)
            assert await loop().sock_recv(theirs, 100) == b"data"

    run(main())


def test_a_reader_and_an_operation_for_the_other_direction(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            got: list[bytes] = []
            loop().add_reader(ours, lambda: got.append(ours.recv(3)))
            data = os.urandom(1_000_000)
            sending = await started(loop().sock_sendall(ours, data))
            theirs.send(b"123456789")
            while len(got) < 3:
                await asyncio.sleep(0)
            received = bytearray()
            while len(received) < len(data):
                received += await loop().sock_recv(theirs, 1 << 16)
            await sending
            assert received == data
            theirs.send(b"abc")
            while len(got) < 4:
                await asyncio.sleep(0)
            assert got == [b"123", b"456", b"789", b"abc"]
            assert loop().remove_reader(ours)

    run(main())


def test_add_reader_after_operations_is_level_triggered(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            ours.send(b"x")
            await receiving
            got: list[bytes] = []
            loop().add_reader(theirs, lambda: got.append(theirs.recv(1)))
            ours.send(b"abc")
            while len(got) < 3:
                await asyncio.sleep(0)
            assert loop().remove_reader(theirs)

    run(main())


def test_a_transport_takes_over_after_operations(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            ours.send(b"greeting")
            assert await receiving == b"greeting"
            reader, writer = await asyncio.open_connection(sock=theirs)
            ours.send(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.write(b"answer")
            await writer.drain()
            assert await loop().sock_recv(ours, 100) == b"answer"
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_listener_takes_over_after_sock_accept(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            accepting = await started(loop().sock_accept(listening))
            with socket.create_connection(listening.getsockname()):
                (await accepting)[0].close()
            served = loop().create_future()
            server = await asyncio.start_server(lambda r, w: (w.close(), served.set_result(None)), sock=listening)
            with socket.create_connection(listening.getsockname()):
                await served
            server.close()
            await server.wait_closed()

    run(main())


def test_two_operations_for_one_direction(run: Run) -> None:
    """The later one gets what comes, as in asyncio; the earlier one waits until it is cancelled."""

    async def main() -> None:
        with pair() as (ours, theirs):
            first = await started(loop().sock_recv(theirs, 100))
            second = await started(loop().sock_recv(theirs, 100))
            ours.send(b"data")
            assert await second == b"data"
            assert not first.done()
            await cancelled(first)
            assert not is_watched(theirs)

    run(main())


def test_what_waits_is_collected_with_its_loop(run: Run) -> None:
    make = asyncio.SelectorEventLoop if run.loop_name == "asyncio" else segue.EventLoop

    class Buffer(bytearray):
        pass

    with pair() as (ours, theirs):
        own = make()
        buffer = Buffer(100)
        gone = weakref.ref(buffer)
        coroutine = own.sock_recv_into(theirs, buffer)
        own.call_soon(own.stop)
        task = own.create_task(coroutine)
        own.run_forever()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        own.close()
        del own, task, coroutine, buffer
        gc.collect()
        assert gone() is None
        ours.send(b"x")
