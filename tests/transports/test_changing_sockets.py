"""Sockets that others share, close, replace or change while the loop uses them, on asyncio and on Segue."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest
from on_either_loop import Run
from test_sockets import cancelled, loop, pair, started, udp

RECEIVING: dict[str, Any] = {
    "sock_recv": lambda: (100,), "sock_recv_into": lambda: (bytearray(100),), "sock_recvfrom": lambda: (100,),
    "sock_recvfrom_into": lambda: (bytearray(100),),
}  # fmt: skip
"""The coroutines that receive, and arguments for each."""

EXPECTED = {
    "sock_recv": b"data", "sock_recv_into": 4, "sock_recvfrom": (b"data", None), "sock_recvfrom_into": (4, None),
}  # fmt: skip
"""What they return for four bytes through a Unix socket pair."""


def later(action: Callable[[], Any]) -> threading.Thread:
    """Runs in a thread after the loop had time to wait, or to be stuck."""
    thread = threading.Timer(0.05, action)
    thread.daemon = True
    thread.start()
    return thread


def same_number(sock: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Closes a socket; the two ends of a new pair, of which the first has got its number."""
    number = sock.fileno()
    sock.close()
    one, two = socket.socketpair()
    for end in (one, two):
        end.setblocking(False)
    assert number in (one.fileno(), two.fileno())
    return (one, two) if one.fileno() == number else (two, one)


# ---------------------------------------------------------------- an open file that others set to blocking


@pytest.mark.parametrize("name", RECEIVING)
def test_receiving_from_an_open_file_that_blocks(run: Run, name: str) -> None:
    """Python's object says it doesn't block; who shares the open file has decided otherwise. Threads must go on."""

    async def main() -> None:
        with pair() as (ours, theirs):
            os.set_blocking(theirs.fileno(), True)
            thread = later(lambda: ours.send(b"data"))
            assert await getattr(loop(), name)(theirs, *RECEIVING[name]()) == EXPECTED[name]
            thread.join()

    run(main())


def test_sending_to_an_open_file_that_blocks(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            os.set_blocking(ours.fileno(), True)
            theirs.setblocking(True)
            data = os.urandom(2_000_000)
            got = bytearray()

            def receive() -> None:
                while len(got) < len(data):
                    got.extend(theirs.recv(1 << 16))

            thread = later(receive)
            await loop().sock_sendall(ours, data)
            thread.join()
            assert got == data

    run(main())


def test_accepting_from_an_open_file_that_blocks(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            server.setblocking(False)
            os.set_blocking(server.fileno(), True)
            thread = later(lambda: client.connect(server.getsockname()))
            accepted, address = await loop().sock_accept(server)
            thread.join()
            with accepted:
                assert address == client.getsockname()
                assert not os.get_blocking(accepted.fileno())

    run(main())


# ---------------------------------------------------------------- closed by code that an operation runs


@pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers cannot be Python code before 3.12")
@pytest.mark.parametrize("name", ["sock_sendall", "sock_sendto", "sock_recv_into", "sock_recvfrom_into"])
def test_a_buffer_that_closes_the_socket(run: Run, name: str) -> None:
    """The number belongs to another socket then, which must neither get the data nor lose any."""

    async def main() -> None:
        with udp() as ours, contextlib.ExitStack() as stack:
            others: list[socket.socket] = []

            class Closes:
                def __buffer__(self, flags: int) -> memoryview:
                    if not others:
                        others.extend(stack.enter_context(end) for end in same_number(ours))
                        others[1].send(b"theirs")
                    return memoryview(bytearray(b"secret"))

                def __len__(self) -> int:
                    return 6

            arguments = [ours.getsockname()] if name == "sock_sendto" else []
            with pytest.raises(OSError, match="Bad file descriptor") as caught:
                await getattr(loop(), name)(ours, Closes(), *arguments)
            assert caught.value.errno == errno.EBADF
            assert others[0].recv(100) == b"theirs"
            with pytest.raises(BlockingIOError):
                others[1].recv(100)

    run(main())


when_sent: list[Callable[[Any], None]] = []
"""What the next audit event of sendto does with its socket."""


def audit(event: str, arguments: Any) -> None:
    if event == "socket.sendto" and when_sent:
        when_sent.pop()(arguments[0])


@pytest.fixture(scope="module")
def audited() -> None:
    sys.addaudithook(audit)


@pytest.mark.parametrize("how", ["sock_sendto", "transport"])
def test_an_audit_hook_that_closes_the_socket(run: Run, audited: None, how: str) -> None:
    async def main() -> None:
        with udp() as target, contextlib.ExitStack() as stack:
            numbers: list[tuple[int, int]] = []

            def close(sock: socket.socket) -> None:
                number = sock.fileno()
                sock.close()
                numbers.append((number, stack.enter_context(udp()).fileno()))

            if how == "sock_sendto":
                ours = stack.enter_context(udp())
                when_sent.append(close)
                with pytest.raises(OSError, match="Bad file descriptor"):
                    await loop().sock_sendto(ours, b"data", target.getsockname())
            else:
                errors: list[Exception] = []

                class Peer(asyncio.DatagramProtocol):
                    def error_received(self, exc: Exception) -> None:
                        errors.append(exc)

                transport, _ = await loop().create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
                when_sent.append(close)
                transport.sendto(b"data", target.getsockname())
                assert [getattr(exc, "errno", None) for exc in errors] == [errno.EBADF]
                transport.abort()
                await asyncio.sleep(0)
            assert len({number for number in numbers[0]}) == 1
            with pytest.raises(BlockingIOError):
                target.recv(100)

    run(main())


# ---------------------------------------------------------------- changed while something waits


@pytest.mark.parametrize("name", ["sock_recv_into", "sock_recvfrom_into"])
def test_a_buffer_is_free_while_nothing_has_come(run: Run, name: str) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            buffer = bytearray(2)
            receiving = await started(getattr(loop(), name)(theirs, buffer, *([2] if "from" in name else [])))
            buffer.extend(b"more")
            ours.send(b"da")
            assert await receiving == (2 if name == "sock_recv_into" else (2, None))
            assert buffer == b"damore"

    run(main())


def test_a_buffer_that_has_no_room_any_more(run: Run) -> None:
    async def main() -> None:
        with pair() as (ours, theirs):
            buffer = bytearray(8)
            receiving = await started(loop().sock_recv_into(theirs, buffer))
            buffer.clear()
            ours.send(b"data")
            assert await receiving == 0
            assert await loop().sock_recv(theirs, 100) == b"data"
            buffer.extend(bytes(8))
            receiving = await started(loop().sock_recvfrom_into(theirs, buffer, 8))
            del buffer[4:]
            ours.send(b"data")
            with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
                await receiving
            view = memoryview(buffer)
            assert await loop().sock_recv(theirs, 100) == b"data"
            receiving = await started(loop().sock_recv_into(theirs, view))
            view.release()
            ours.send(b"data")
            with pytest.raises((ValueError, TypeError, BufferError)):
                await receiving

    run(main())


class Tells(socket.socket):
    """Tells which of its methods were called."""

    __slots__ = ()
    called: list[str] = []  # noqa: RUF012 - a slotted class has nowhere else

    def recv(self, *args: Any) -> bytes:
        self.called.append("recv")
        return super().recv(*args)

    def recv_into(self, *args: Any) -> int:
        self.called.append("recv_into")
        return super().recv_into(*args)

    def recvfrom(self, *args: Any) -> tuple[bytes, Any]:
        self.called.append("recvfrom")
        return super().recvfrom(*args)

    def recvfrom_into(self, *args: Any) -> tuple[int, Any]:
        self.called.append("recvfrom_into")
        return super().recvfrom_into(*args)

    def send(self, *args: Any) -> int:
        self.called.append("send")
        return super().send(*args)

    def accept(self) -> tuple[socket.socket, Any]:
        self.called.append("accept")
        return super().accept()


@pytest.mark.parametrize("name", RECEIVING)
def test_a_socket_that_changes_its_class_while_it_receives(run: Run, name: str) -> None:
    async def main() -> None:
        Tells.called.clear()
        with pair() as (ours, theirs):
            receiving = await started(getattr(loop(), name)(theirs, *RECEIVING[name]()))
            theirs.__class__ = Tells
            ours.send(b"data")
            assert await receiving == EXPECTED[name]
            assert Tells.called == [name.removeprefix("sock_")]

    run(main())


def test_a_socket_that_changes_its_class_while_it_sends_or_accepts(run: Run) -> None:
    async def main() -> None:
        Tells.called.clear()
        with pair() as (ours, theirs):
            data = os.urandom(2_000_000)
            sending = await started(loop().sock_sendall(ours, data))
            ours.__class__ = Tells
            got = bytearray()
            while len(got) < len(data):
                got += await loop().sock_recv(theirs, 1 << 16)
            await sending
            assert got == data
            assert set(Tells.called) == {"send"}
        Tells.called.clear()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            accepting = await started(loop().sock_accept(server))
            server.__class__ = Tells
            with socket.create_connection(server.getsockname()) as client:
                accepted, address = await accepting
                with accepted:
                    assert (accepted.gettimeout(), address) == (0.0, client.getsockname())
            assert Tells.called == ["accept"]

    run(main())


def test_cancelled_by_the_method_that_receives(run: Run) -> None:
    class Cancels(socket.socket):
        __slots__ = ()

        def recv(self, *args: Any) -> bytes:
            receiving.cancel()
            return super().recv(*args)

    async def main() -> None:
        nonlocal receiving
        with pair() as (ours, theirs):
            receiving = await started(loop().sock_recv(theirs, 100))
            theirs.__class__ = Cancels
            ours.send(b"data")
            await asyncio.wait([receiving])
            assert receiving.cancelled()

    receiving: asyncio.Task[Any]
    run(main())


# ---------------------------------------------------------------- watching what is closed


class Refused:
    """A callback whose end calls the loop."""

    def __init__(self, ended: list[bool]) -> None:
        self.ended = ended
        self.loop = loop()

    def __call__(self) -> None: ...

    def __del__(self) -> None:
        self.ended.append(self.loop.remove_reader(0))


def test_a_refused_watcher_is_gone(run: Run) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        loop().add_reader(reading, print)
        os.close(reading)
        ended: list[bool] = []
        with pytest.raises(OSError, match="Bad file descriptor"):
            loop().add_writer(reading, Refused(ended))
        gc.collect()
        assert ended == [False]
        assert not loop().remove_writer(reading)
        loop().remove_reader(reading)
        os.close(writing)

    run(main())


def test_replacing_the_watcher_of_a_closed_descriptor(run: Run) -> None:
    """asyncio doesn't ask its selector then, and so sees no error."""

    async def main() -> None:
        reading, writing = os.pipe()
        ended: list[bool] = []
        loop().add_reader(reading, Refused(ended))
        os.close(reading)
        with contextlib.suppress(OSError):
            loop().add_reader(reading, print)
        assert loop().remove_reader(reading)
        gc.collect()
        assert ended == [False]
        os.close(writing)

    run(main())


@pytest.mark.parametrize("direction", ["reading", "writing"])
def test_an_abandoned_operation_leaves_the_transport_with_its_number_alone(run: Run, direction: str) -> None:
    """asyncio's selector takes the number for the old socket: there, such a transport may never hear anything."""

    async def main() -> None:
        with pair() as (ours, _):
            if direction == "writing":
                with contextlib.suppress(BlockingIOError):
                    while True:
                        ours.send(bytes(10_000))
                abandoned = await started(loop().sock_sendall(ours, b"never"))
            else:
                abandoned = await started(loop().sock_recv(ours, 100))
            new, peer = same_number(ours)
            with peer:
                reader, writer = await asyncio.open_connection(sock=new)
                await asyncio.sleep(0.001)
                await cancelled(abandoned)
                peer.send(b"hello")
                if run.loop_name == "segue":
                    assert await reader.readexactly(5) == b"hello"
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    run(main())


# ---------------------------------------------------------------- a program's own socket.socket

REPLACED = """
    import asyncio, socket, sys
    called = []
    class Own(socket.socket):
        def recv(self, *args): called.append("recv"); return super().recv(*args)
        def send(self, *args): called.append("send"); return super().send(*args)
        def sendto(self, *args): called.append("sendto"); return super().sendto(*args)
        def recvfrom(self, *args): called.append("recvfrom"); return super().recvfrom(*args)
    socket.socket = Own
    import segue

    class Peer(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr): received.set_result(data)

    async def main():
        global received
        loop = asyncio.get_running_loop()
        received = loop.create_future()
        ours, theirs = (Own(fileno=end.detach()) for end in socket.socketpair())
        ours.setblocking(False)
        theirs.setblocking(False)
        await loop.sock_sendall(ours, b"data")
        assert await loop.sock_recv(theirs, 100) == b"data"
        ours.close()
        theirs.close()
        transport, _ = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
        transport.sendto(b"datagram", transport.get_extra_info("sockname"))
        assert await received == b"datagram"
        transport.close()

    factory = {"asyncio": asyncio.SelectorEventLoop, "segue": segue.EventLoop}[sys.argv[1]]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    print(called)
"""


def test_what_a_program_has_put_in_the_place_of_socket(run: Run) -> None:
    """Its methods are called as they are on asyncio; each process looks at the class once."""
    command = [sys.executable, "-c", textwrap.dedent(REPLACED), run.loop_name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("['send', 'recv', 'sendto', 'recvfrom']", "")
