"""Datagram endpoints, on asyncio and on Segue: addresses, errors, flow control, closing."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import segue
from on_either_loop import Run

HEADER = 8 if sys.version_info >= (3, 13) else 0
"""What a waiting datagram counts for beyond its bytes."""


class Peer(asyncio.DatagramProtocol):
    """Notes every call; `hook` may do something with each datagram."""

    def __init__(self, hook: Callable[[Peer, bytes], None] | None = None) -> None:
        self.calls: list[Any] = []
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.hook = hook
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.calls.append("datagram")
        self.received.append((data, addr))
        if self.hook is not None:
            self.hook(self, data)

    def error_received(self, exc: Exception) -> None:
        self.calls.append("error")
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.received]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def endpoint(hook: Any = None, **kwargs: Any) -> Peer:
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_datagram_endpoint(lambda: Peer(hook), **kwargs)
    return peer


async def close(*peers: Peer) -> None:
    for peer in peers:
        peer.transport.close()
    for peer in peers:
        await peer.lost


async def pair(hook: Any = None, host: str = "127.0.0.1") -> tuple[Peer, Peer]:
    """A server for anybody, and a client connected to it."""
    server = await endpoint(hook, local_addr=(host, 0))
    client = await endpoint(remote_addr=server.transport.get_extra_info("sockname")[:2])
    return server, client


def unix_socket(path: str | bytes | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if path is not None:
        sock.bind(path)
    return sock


def fill(sock: socket.socket, data: bytes, to: str) -> int:
    """Sends until the receiver's queue is full."""
    count = 0
    while True:
        try:
            sock.sendto(data, to)
        except BlockingIOError:
            return count
        count += 1


# ---------------------------------------------------------------- what a transport is


def test_it_is_a_datagram_transport_and_says_what_it_is(run: Run) -> None:
    async def main() -> None:
        server, client = await pair()
        for peer in (server, client):
            transport = peer.transport
            if run.loop_name == "segue":
                assert isinstance(transport, segue._core.DatagramTransport)
            assert isinstance(transport, asyncio.DatagramTransport) or sys.version_info < (3, 12)
            assert isinstance(transport, asyncio.Transport)
            sock = transport.get_extra_info("socket")
            assert transport.get_extra_info("sockname") == sock.getsockname()
            assert transport.get_extra_info("nothing", "else") == "else"
            assert repr(transport).endswith(f"fd={sock.fileno()} read=polling write=<idle, bufsize=0>>")
            assert transport.get_protocol() is peer
            assert not transport.is_closing()
            assert transport.is_reading()
        assert server.transport.get_extra_info("peername") is None
        assert client.transport.get_extra_info("peername") == server.transport.get_extra_info("sockname")
        await close(server, client)
        assert client.transport.is_closing()
        assert "closed" in repr(client.transport)
        assert client.calls == ["made", "lost"]

    run(main())


@pytest.mark.parametrize("method", ["write_eof", "can_write_eof"])
def test_what_a_stream_can_is_not_implemented(run: Run, method: str) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=("127.0.0.1", 0))
        with pytest.raises(NotImplementedError):
            getattr(server.transport, method)()
        with pytest.raises(NotImplementedError):
            server.transport.write(b"x")
        await close(server)

    run(main())


def test_a_forgotten_transport_warns(run: Run) -> None:
    async def main() -> Any:
        server = await endpoint(local_addr=("127.0.0.1", 0))
        return server.transport.get_extra_info("socket").fileno()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fd = run(main())
        gc.collect()
    assert any("unclosed transport" in str(w.message) for w in caught), [str(w.message) for w in caught]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# ---------------------------------------------------------------- addresses


def test_v4_addresses(run: Run) -> None:
    async def main() -> None:
        server, client = await pair()
        for data in (b"one", b"", b"three"):
            client.transport.sendto(data)
        expected = [b"one", b"", b"three"] if HEADER else [b"one", b"three"]
        await until(lambda: len(server.received) == len(expected))
        assert server.data == expected
        name = client.transport.get_extra_info("sockname")
        for _, address in server.received:
            assert address == name
            assert list(map(type, address)) == [str, int]
        # The very object that came, an equal one, and a name: all the same peer.
        for to in (server.received[0][1], ("127.0.0.1", name[1]), ("localhost", name[1])):
            server.transport.sendto(b"back", to)
        await until(lambda: len(client.received) == 3)
        assert {address for _, address in client.received} == {server.transport.get_extra_info("sockname")}
        await close(server, client)

    run(main())


def test_v6_addresses(run: Run) -> None:
    async def main() -> None:
        try:
            server, client = await pair(host="::1")
        except OSError:
            return  # a machine without IPv6
        client.transport.sendto(b"data")
        await until(lambda: server.received)
        [(_, address)] = server.received
        assert address == client.transport.get_extra_info("sockname")
        assert list(map(type, address)) == [str, int, int, int]
        for to in (address, address[:2], address[:3]):
            server.transport.sendto(b"back", to)
        await until(lambda: len(client.received) == 3)
        await close(server, client)

    run(main())


def test_v4_peers_of_a_v6_socket_have_mapped_addresses(run: Run) -> None:
    async def main() -> None:
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
        except OSError:
            return  # a machine without IPv6
        sock.setblocking(False)
        server = await endpoint(sock=sock)
        client = await endpoint(remote_addr=("127.0.0.1", sock.getsockname()[1]))
        client.transport.sendto(b"data")
        await until(lambda: server.received)
        port = client.transport.get_extra_info("sockname")[1]
        assert server.received[0][1] == ("::ffff:127.0.0.1", port, 0, 0)
        server.transport.sendto(b"back", server.received[0][1])
        await until(lambda: client.received)
        await close(server, client)

    run(main())


def test_unix_addresses(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        paths = [str(tmp_path / name) for name in ("server", "named")]
        loop = asyncio.get_running_loop()
        server = await endpoint(sock=unix_socket(paths[0]))
        named = await endpoint(sock=unix_socket(paths[1]))
        abstract = await endpoint(sock=unix_socket(b"\0segue-test-%d-%d" % (os.getpid(), id(loop))))
        nameless = await endpoint(sock=unix_socket())
        for peer in (named, abstract, nameless):
            peer.transport.sendto(b"to a path", paths[0])
        await until(lambda: len(server.received) == 3)
        addresses = [address for _, address in server.received]
        assert addresses == [paths[1], abstract.transport.get_extra_info("sockname"), None]
        assert isinstance(addresses[1], bytes)
        for address in addresses[:2]:
            server.transport.sendto(b"back", address)
        await until(lambda: named.received and abstract.received)
        assert named.received == [(b"back", paths[0])]
        await close(server, named, abstract, nameless)

    run(main())


def test_many_peers_are_told_apart(run: Run) -> None:
    async def main() -> None:
        server = await endpoint(lambda peer, data: peer.transport.sendto(data, peer.received[-1][1]),
                                local_addr=("127.0.0.1", 0))
        to = server.transport.get_extra_info("sockname")
        clients = [await endpoint(remote_addr=to) for _ in range(150)]
        for round_ in range(3):
            for n, client in enumerate(clients):
                client.transport.sendto(b"%d of %d" % (round_, n))
            await until(lambda wanted=round_ + 1: all(len(client.received) == wanted for client in clients))
        for n, client in enumerate(clients):
            assert client.data == [b"%d of %d" % (round_, n) for round_ in range(3)]
        names = {client.transport.get_extra_info("sockname") for client in clients}
        assert {address for _, address in server.received} == names
        await close(server, *clients)

    run(main())


def test_broadcast(run: Run) -> None:
    async def main() -> None:
        receiver = await endpoint(local_addr=("0.0.0.0", 0))
        sender = await endpoint(local_addr=("0.0.0.0", 0), allow_broadcast=True)
        port = receiver.transport.get_extra_info("sockname")[1]
        sender.transport.sendto(b"to all", ("127.255.255.255", port))
        await until(lambda: receiver.received or sender.errors)
        assert receiver.data == [b"to all"]
        without = await endpoint(local_addr=("0.0.0.0", 0))
        without.transport.sendto(b"to all", ("127.255.255.255", port))
        assert [type(exc) for exc in without.errors] == [PermissionError]
        await close(receiver, sender, without)

    run(main())


# ---------------------------------------------------------------- what sendto takes


def test_arguments_of_sendto(run: Run) -> None:
    async def main() -> None:
        server, client = await pair()
        own = client.transport.get_extra_info("peername")
        for data in ("text", 5, None, [b"x"]):
            with pytest.raises(TypeError) as caught:
                client.transport.sendto(data)
            assert str(caught.value) == (
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        with pytest.raises(ValueError, match="Invalid address: must be None or") as wrong:
            client.transport.sendto(b"x", ("127.0.0.1", 1))
        assert str(wrong.value) == f"Invalid address: must be None or {own}"
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:]):
            client.transport.sendto(data, own)
            client.transport.sendto(data, None)
            client.transport.sendto(data=data, addr=own)
        await until(lambda: len(server.received) == 9)
        assert server.data == [b"bytes"] * 3 + [b"array"] * 3 + [b"view"] * 3
        await close(server, client)

    run(main())


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (None, TypeError),
        ("127.0.0.1", TypeError),
        (("127.0.0.1", "80"), TypeError),
        (("127.0.0.1", 70000), OverflowError),
        (("127.0.0.1", 1, 2, 3), TypeError),
    ],
)
def test_an_impossible_address_ends_the_transport(run: Run, address: Any, error: type[Exception]) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=("127.0.0.1", 0))
        server.transport.sendto(b"data", address)
        assert isinstance(await server.lost, error)
        assert [report["message"] for report in run.reports] == ["Fatal write error on datagram transport"]
        assert run.reports[0]["transport"] is server.transport

    run(main())


def test_the_audit_event_of_sendto(run: Run) -> None:
    """Python's sockets say where they send to; a hook may forbid it."""
    seen: list[Any] = []
    active = [True]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if active and event == "socket.sendto":
            seen.append(args)

    async def main() -> None:
        server = await endpoint(local_addr=("127.0.0.1", 0))
        to = server.transport.get_extra_info("sockname")
        sys.addaudithook(hook)
        server.transport.sendto(b"to myself", to)
        await until(lambda: server.received)
        active.clear()
        [(sock, address)] = seen
        assert isinstance(sock, socket.socket)
        assert address == to
        await close(server)

    run(main())


# ---------------------------------------------------------------- errors


def test_errors_of_the_network_go_to_the_protocol(run: Run) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            nobody = gone.getsockname()
        client = await endpoint(remote_addr=nobody)
        client.transport.sendto(b"to nobody")
        await until(lambda: client.errors)
        assert isinstance(client.errors[0], ConnectionRefusedError)
        assert client.errors[0].args == (111, "Connection refused")
        server = await endpoint(local_addr=("127.0.0.1", 0))
        server.transport.sendto(b"x" * 70000, nobody)
        assert [exc.args for exc in server.errors] == [(90, "Message too long")]
        # Neither is the end.
        server.transport.sendto(b"on it goes", server.transport.get_extra_info("sockname"))
        await until(lambda: server.received)
        await close(server, client)
        assert not run.reports

    run(main())


def test_what_a_protocol_raises_is_reported_and_loses_no_datagram(run: Run) -> None:
    def raises(peer: Peer, data: bytes) -> None:
        if data == b"2":
            raise LookupError("on purpose")

    async def main() -> None:
        server, client = await pair(raises)
        for n in range(5):
            client.transport.sendto(b"%d" % n)
        await until(lambda: len(server.received) == 5)
        assert server.data == [b"0", b"1", b"2", b"3", b"4"]
        [report] = run.reports
        assert isinstance(report["exception"], LookupError)
        assert report["message"].startswith("Exception in callback")
        assert "DatagramTransport._read_ready()" in report["message"]
        await close(server, client)

    run(main())


def test_an_interrupt_in_a_protocol_leaves_the_loop_usable(run: Run) -> None:
    def interrupts(peer: Peer, data: bytes) -> None:
        if data == b"1":
            raise SystemExit(3)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop if run.loop_name == "asyncio" else segue.EventLoop) as r:
        server, client = r.run(pair(interrupts))

        async def send() -> None:
            for n in range(4):
                client.transport.sendto(b"%d" % n)
            await asyncio.sleep(10)

        with pytest.raises(SystemExit):
            r.run(send())
        r.run(until(lambda: len(server.received) == 4))
        assert server.data == [b"0", b"1", b"2", b"3"]
        r.run(close(server, client))


# ---------------------------------------------------------------- order of calls, pausing, closing


def test_no_datagram_while_reading_is_paused(run: Run) -> None:
    async def main() -> None:
        server, client = await pair(lambda peer, data: peer.transport.pause_reading() if data == b"pause" else None)
        for data in (b"1", b"pause", b"2", b"pause", b"3"):
            client.transport.sendto(data)
        await until(lambda: len(server.received) == 2)
        await asyncio.sleep(0.01)
        assert server.data == [b"1", b"pause"]
        assert not server.transport.is_reading()
        client.transport.sendto(b"4")
        await asyncio.sleep(0.01)
        server.transport.resume_reading()
        server.transport.resume_reading()
        await until(lambda: len(server.received) == 4)
        await asyncio.sleep(0.01)
        assert server.data == [b"1", b"pause", b"2", b"pause"]
        server.transport.resume_reading()
        await until(lambda: len(server.received) == 6)
        assert server.data[4:] == [b"3", b"4"]
        await close(server, client)

    run(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_nothing_is_received_after_closing(run: Run, how: str) -> None:
    async def main() -> None:
        server, client = await pair(lambda peer, data: getattr(peer.transport, how)())
        for n in range(5):
            client.transport.sendto(b"%d" % n)
        assert await server.lost is None
        await asyncio.sleep(0.01)
        assert server.calls == ["made", "datagram", "lost"]
        await close(client)

    run(main())


def test_a_lot_at_once_arrives_in_order_and_others_get_their_turn(run: Run) -> None:
    async def main() -> None:
        server = await endpoint(local_addr=("127.0.0.1", 0))
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client = await endpoint(remote_addr=server.transport.get_extra_info("sockname"))
        turns = [0]

        def count() -> None:
            turns[0] += 1
            if len(server.received) < 200:
                asyncio.get_running_loop().call_soon(count)

        for n in range(200):
            client.transport.sendto(b"%d" % n)
        count()
        await until(lambda: len(server.received) == 200)
        assert server.data == [b"%d" % n for n in range(200)]
        assert turns[0] > 10
        await close(server, client)

    run(main())


def test_the_largest_datagram_and_more_than_one_of_them(run: Run) -> None:
    async def main() -> None:
        server, client = await pair()
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        largest = os.urandom(65507)
        client.transport.sendto(largest)
        client.transport.sendto(largest[::-1])
        client.transport.sendto(b"small")
        await until(lambda: len(server.received) == 3)
        assert server.data == [largest, largest[::-1], b"small"]
        await close(server, client)

    run(main())


def test_large_unix_datagrams_are_not_cut(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 212992)
        peer = await endpoint(sock=theirs)
        data = os.urandom(150_000)
        with ours:
            ours.send(data)
            await until(lambda: peer.received)
        assert peer.data == [data]
        await close(peer)

    run(main())


# ---------------------------------------------------------------- flow control


@pytest.mark.parametrize("connected", [True, False])
def test_flow_control_and_closing_lose_nothing(run: Run, tmp_path: Any, connected: bool) -> None:
    """A Unix receiver that doesn't read: what doesn't fit waits, the protocol pauses, close sends the rest."""
    path = str(tmp_path / "receiver")

    async def main() -> None:
        with unix_socket(path) as receiver:
            sock = unix_socket()
            if connected:
                sock.connect(path)
            sender = await endpoint(sock=sock)
            transport, to = sender.transport, None if connected else path
            transport.set_write_buffer_limits(high=1000, low=100)
            assert transport.get_write_buffer_limits() == (100, 1000)
            sent = []
            while "pause" not in sender.calls:
                sent.append(b"%06d" % len(sent) + b"." * 94)
                transport.sendto(sent[-1], to)
                assert len(sent) < 100_000
            waiting = transport.get_write_buffer_size()
            assert waiting % (100 + HEADER) == 0
            assert waiting > 1000
            assert f"bufsize={waiting}>" in repr(transport)
            got = [receiver.recv(200) for _ in range(5)]
            await until(lambda: transport.get_write_buffer_size() < waiting)
            while len(got) < len(sent):
                try:
                    got.append(receiver.recv(200))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            await until(lambda: "resume" in sender.calls)
            assert got == sent
            left = transport.get_write_buffer_size()  # asyncio doesn't take the headers off again
            assert left == 0 or run.loop_name == "asyncio"
            while transport.get_write_buffer_size() == left:
                transport.sendto(b"full", to)
            transport.sendto(b"last", to)
            transport.close()
            await asyncio.sleep(0.01)
            assert not sender.lost.done()
            got.clear()
            while not sender.lost.done() or b"last" not in got:
                try:
                    got.append(receiver.recv(200))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            assert got[-1] == b"last"
            assert sender.calls == ["made", "pause", "resume", "lost"]

    run(main())


def test_abort_drops_what_waits(run: Run, tmp_path: Any) -> None:
    path = str(tmp_path / "receiver")

    async def main() -> None:
        with unix_socket(path) as receiver:
            sock = unix_socket()
            sock.connect(path)
            sender = await endpoint(sock=sock)
            count = 0
            while not sender.transport.get_write_buffer_size():
                sender.transport.sendto(b"%d" % count)
                count += 1
            sender.transport.abort()
            assert sender.transport.get_write_buffer_size() == 0 or run.loop_name == "asyncio"
            assert await sender.lost is None
            for n in range(count - 1):
                assert receiver.recv(100) == b"%d" % n
            with pytest.raises(BlockingIOError):
                receiver.recv(100)

    run(main())


def test_what_waits_is_refused_one_by_one(run: Run, tmp_path: Any) -> None:
    """The receiver goes away while datagrams wait: an error for each, and closing still comes to its end."""
    path = str(tmp_path / "receiver")

    async def main() -> None:
        receiver = unix_socket(path)
        sender = await endpoint(sock=unix_socket())
        filler = unix_socket()
        fill(filler, b"full", path)
        for _ in range(3):
            sender.transport.sendto(b"data", path)
        assert sender.transport.get_write_buffer_size() == 3 * (4 + HEADER)
        filler.close()
        receiver.close()
        await until(lambda: len(sender.errors) == 3)
        assert {type(exc) for exc in sender.errors} == {ConnectionRefusedError}
        await close(sender)
        assert sender.calls == ["made", "error", "error", "error", "lost"]

    run(main())


def test_what_waits_is_immutable(run: Run, tmp_path: Any) -> None:
    path = str(tmp_path / "receiver")

    async def main() -> None:
        with unix_socket(path) as receiver, unix_socket() as filler:
            count = fill(filler, b"full", path)
            sender = await endpoint(sock=unix_socket())
            data = bytearray(b"as it was")
            sender.transport.sendto(data, path)
            data[:] = b"overwrite"
            for _ in range(count):
                receiver.recv(100)
            async with asyncio.timeout(20):
                assert await asyncio.get_running_loop().sock_recv(receiver, 100) == b"as it was"
            await close(sender)

    run(main())


def test_writing_into_a_lost_connection_is_remarked_upon(run: Run, caplog: Any) -> None:
    async def main() -> None:
        server, client = await pair()
        client.transport.close()
        for _ in range(10):
            client.transport.sendto(b"dropped")
        assert await client.lost is None
        await close(server)
        assert server.received == []

    run(main())
    assert "socket.send() raised exception." in caplog.text


def test_closed_from_connection_made(run: Run) -> None:
    class Closes(Peer):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_datagram_endpoint(Closes, local_addr=("127.0.0.1", 0))
        await peer.lost
        assert peer.calls == ["made", "lost"]

    run(main())


def test_sent_from_connection_made(run: Run) -> None:
    class Sends(Peer):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.sendto(b"at once")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await endpoint(local_addr=("127.0.0.1", 0))
        _, peer = await loop.create_datagram_endpoint(Sends, remote_addr=server.transport.get_extra_info("sockname"))
        await until(lambda: server.received)
        assert server.data == [b"at once"]
        await close(server, peer)

    run(main())


def test_protocols_can_be_replaced(run: Run) -> None:
    async def main() -> None:
        server, client = await pair()
        other = Peer()
        server.transport.set_protocol(other)
        client.transport.sendto(b"for the other")
        await until(lambda: other.received)
        server.transport.close()
        await other.lost
        assert server.calls == ["made"]
        await close(client)

    run(main())


def test_the_context_is_that_of_the_endpoints_maker(run: Run) -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Looks(Peer):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            seen.append(variable.get())

        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            seen.append(variable.get())

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            seen.append(variable.get())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        variable.set("maker")
        _, peer = await loop.create_datagram_endpoint(Looks, local_addr=("127.0.0.1", 0))
        variable.set("changed")
        peer.transport.sendto(b"x", peer.transport.get_extra_info("sockname"))
        await until(lambda: peer.received)
        assert seen == ["maker", "maker"]
        await close(peer)

    run(main())


def test_other_kinds_of_sockets_work_as_well(run: Run) -> None:
    """A subclass that overrides what is called, and a socket that is no datagram socket: asyncio's own transport."""

    class Doubling(socket.socket):
        def recvfrom(self, *args: Any) -> Any:
            data, address = super().recvfrom(*args)
            return data * 2, address

    async def main() -> None:
        sock = Doubling(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        server = await endpoint(sock=sock)
        client = await endpoint(remote_addr=sock.getsockname())
        client.transport.sendto(b"ab")
        await until(lambda: server.received)
        assert server.data == [b"abab"]
        await close(server, client)

    run(main())
