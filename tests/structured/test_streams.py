"""Streams, listeners, sockets and TLS, over the real network of this machine."""

from __future__ import annotations

import asyncio
import errno
import socket as stdlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import segue
import trustme
from segue import (
    BrokenResourceError,
    BusyResourceError,
    Cancelled,
    CancelScope,
    ClosedResourceError,
    SocketListener,
    SocketStream,
    SSLStream,
    StapledStream,
    aclose_forcefully,
    move_on_after,
    open_memory_channel,
    open_nursery,
    open_tcp_listeners,
    open_tcp_stream,
    serve_listeners,
    serve_tcp,
)
from segue import socket as sockets
from segue.abc import HostnameResolver, ReceiveChannel, SendChannel, Stream
from segue.lowlevel import encode_hostname
from segue.testing import (
    check_half_closeable_stream,
    check_one_way_stream,
    check_two_way_stream,
    lockstep_stream_one_way_pair,
    lockstep_stream_pair,
    memory_stream_pair,
    open_stream_to_socket_listener,
    wait_all_tasks_blocked,
)

AUTHORITY = trustme.CA()
NAME = "segue.example.org"

Pair = tuple[SocketStream, SocketStream]


@asynccontextmanager
async def together(*calls: tuple[Any, ...]) -> AsyncIterator[None]:
    """The calls, `(async function, *arguments)`, in tasks of their own beside the block."""
    async with open_nursery() as nursery:
        for function, *args in calls:
            nursery.start_soon(function, *args)
        yield


async def raises(error: type[BaseException], function: Callable[..., Awaitable[object]], *args: object) -> None:
    with pytest.raises(error):
        await function(*args)


async def unix_pair() -> Pair:
    left, right = sockets.socketpair()
    return SocketStream(left), SocketStream(right)


async def tcp_pair() -> Pair:
    (listener,) = await open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await open_stream_to_socket_listener(listener)
        return client, await listener.accept()


async def fill(stream: SocketStream) -> None:
    with CancelScope() as scope:
        async with open_nursery() as nursery:

            async def send() -> None:
                while True:
                    await stream.send_all(b"x" * 10000)

            nursery.start_soon(send)
            await wait_all_tasks_blocked(0.05)  # the kernel moves bytes from one buffer to the other for a while
            scope.cancel()


def clogged(maker: Callable[[], Awaitable[Pair]]) -> Callable[[], Awaitable[Pair]]:
    async def make() -> Pair:
        left, right = await maker()
        await fill(left)
        await fill(right)
        return left, right

    return make


@pytest.mark.parametrize("maker", [unix_pair, tcp_pair])
async def test_socket_streams_are_streams(maker: Callable[[], Awaitable[Pair]]) -> None:
    await check_half_closeable_stream(maker, clogged(maker))


async def test_checks_find_what_is_wrong() -> None:
    class SendsTwice(StapledStream[Any, Any]):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await super().send_all(data)
            await super().send_all(data)

    async def maker() -> tuple[Stream, Stream]:
        left, right = memory_stream_pair()
        return SendsTwice(left.send_stream, left.receive_stream), right

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        await check_two_way_stream(maker, None)


async def test_lockstep_streams_are_clogged_streams() -> None:
    async def maker() -> Any:
        return lockstep_stream_one_way_pair()

    await check_one_way_stream(maker, maker)


async def test_a_stream_is_iterated_to_its_end() -> None:
    left, right = await tcp_pair()
    async with left, right:
        await left.send_all(b"abc")
        await left.send_eof()
        assert b"".join([bytes(chunk) async for chunk in right]) == b"abc"


async def test_a_large_message_arrives_whole() -> None:
    left, right = await tcp_pair()
    data = bytes(range(256)) * 40000
    async with left, right:
        async with together((left.send_all, memoryview(data).cast("I"))):
            got = bytearray()
            while len(got) < len(data):
                got += await right.receive_some()
        assert got == data


async def test_a_cancelled_receive_loses_nothing() -> None:
    left, right = await unix_pair()
    async with left, right:
        for _ in range(20):
            received: list[bytes] = []

            async def receive(received: list[bytes] = received) -> None:
                received.append(await right.receive_some(1))

            async with open_nursery() as nursery:
                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                left.socket._sock.send(b"x")  # type: ignore[attr-defined]
                # The descriptor's callback and the cancellation meet in one turn of the loop.
                asyncio.get_running_loop().call_soon(nursery.cancel_scope.cancel)
                await asyncio.sleep(0)
            if not received:
                received.append(await right.receive_some(1))
            assert received == [b"x"]


@pytest.mark.parametrize("maker", [unix_pair, tcp_pair])
async def test_closing_wakes_whoever_waits(maker: Callable[[], Awaitable[Pair]]) -> None:
    left, right = await clogged(maker)()
    await fill(left)
    async with right, together((raises, ClosedResourceError, left.send_all, b"x")):
        await wait_all_tasks_blocked()
        await left.aclose()
    left, right = await maker()
    async with right, together((raises, ClosedResourceError, left.receive_some)):
        await wait_all_tasks_blocked()
        await left.aclose()


async def test_closing_a_listener_wakes_who_accepts() -> None:
    (listener,) = await open_tcp_listeners(0, host="127.0.0.1")
    async with together((raises, ClosedResourceError, listener.accept)):
        await wait_all_tasks_blocked()
        await listener.aclose()
    with pytest.raises(ClosedResourceError):
        await listener.accept()


async def test_two_tasks_in_one_direction_are_a_mistake() -> None:
    left, right = await unix_pair()
    async with left, right:
        async with open_nursery() as nursery:
            nursery.start_soon(left.receive_some)
            await wait_all_tasks_blocked()
            with pytest.raises(BusyResourceError):
                await left.receive_some()
            nursery.cancel_scope.cancel()
        await fill(left)
        async with open_nursery() as nursery:
            nursery.start_soon(left.send_all, b"x")
            await wait_all_tasks_blocked()
            for second in (left.wait_send_all_might_not_block, left.send_eof):
                with pytest.raises(BusyResourceError):
                    await second()
            nursery.cancel_scope.cancel()


async def test_a_reset_connection_is_broken() -> None:
    left, right = await tcp_pair()
    left.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
    await left.aclose()
    async with right:
        with pytest.raises(BrokenResourceError) as info:
            await right.receive_some()
        assert isinstance(info.value.__cause__, ConnectionResetError)


async def test_a_timeout_around_receiving() -> None:
    left, right = await unix_pair()
    async with left, right:
        with move_on_after(0.01) as scope:
            await left.receive_some()
        assert scope.cancelled_caught


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_serving_with_asyncio_as_the_client() -> None:
    async with open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tcp, echo, 0, host="127.0.0.1"))
        host, port = listeners[0].socket.getsockname()

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"%d" % number)
            writer.write_eof()
            assert await reader.read() == b"%d" % number
            writer.close()
            await writer.wait_closed()

        async with together(*[(client, number) for number in range(50)]):
            pass
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError):
        await open_tcp_stream(host, port)


async def test_a_handler_that_fails_ends_the_server_and_closes_its_stream() -> None:
    async def fail(stream: Stream) -> None:
        raise KeyError("handler")

    listeners = await open_tcp_listeners(0, host="127.0.0.1")
    client = await open_stream_to_socket_listener(listeners[0])
    with pytest.raises(ExceptionGroup) as info:
        await serve_listeners(fail, listeners)
    assert info.group_contains(KeyError, match="handler")
    assert await client.receive_some() == b""
    await client.aclose()


class Book(HostnameResolver):
    """Knows one name."""

    def __init__(self, addresses: list[tuple[str, int]]) -> None:
        self.addresses = addresses
        self.asked: list[object] = []

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(host)
        return [(stdlib.AF_INET, stdlib.SOCK_STREAM, 0, "", address) for address in self.addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_the_next_address_is_tried_at_once_if_one_refuses() -> None:
    with stdlib.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        (listener,) = await open_tcp_listeners(0, host="127.0.0.1")
        book = Book([closed.getsockname(), closed.getsockname(), listener.socket.getsockname()])
        assert sockets.set_custom_hostname_resolver(book) is None
        async with listener, await open_tcp_stream("b\u00fccher.example", 1, happy_eyeballs_delay=1000) as stream:
            assert stream.socket.getpeername() == listener.socket.getsockname()
        assert book.asked == [b"xn--bcher-kva.example"]
        del book.addresses[2:]
        with pytest.raises(OSError, match="all attempts to connect to all.example:1 failed") as info:
            await open_tcp_stream("all.example", 1)
        assert isinstance(info.value.__cause__, ExceptionGroup)
        assert [getattr(e, "errno", 0) for e in info.value.__cause__.exceptions] == [errno.ECONNREFUSED] * 2


async def test_connecting_from_a_local_address() -> None:
    (listener,) = await open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    async with listener, await open_tcp_stream(host, port, local_address="127.0.0.1") as stream:
        assert stream.socket.getsockname()[0] == "127.0.0.1"


async def test_a_unix_listener_without_room_is_waited_for(tmp_path: Path) -> None:
    sock = sockets.socket(stdlib.AF_UNIX)
    await sock.bind(tmp_path / "socket")
    sock.listen(0)
    async with SocketListener(sock) as listener:
        first = await segue.open_unix_socket(tmp_path / "socket")
        with move_on_after(0.05) as scope:
            await segue.open_unix_socket(tmp_path / "socket")
        assert scope.cancelled_caught
        async with open_nursery() as nursery:

            async def connect() -> None:
                async with await segue.open_unix_socket(tmp_path / "socket") as second:
                    await second.send_all(b"second")

            nursery.start_soon(connect)
            await wait_all_tasks_blocked()
            async with await listener.accept():
                pass
            async with await listener.accept() as stream:
                assert await stream.receive_some() == b"second"
        await first.aclose()


async def test_a_cancelled_connect_closes_the_socket() -> None:
    sock = sockets.socket()
    with CancelScope() as scope:
        scope.cancel()
        await sock.connect(("127.0.0.1", 1))
    assert sock.fileno() == -1


async def test_sockets_send_datagrams() -> None:
    with sockets.socket(type=stdlib.SOCK_DGRAM) as one, sockets.socket(type=stdlib.SOCK_DGRAM) as other:
        for sock in (one, other):
            await sock.bind(("localhost", 0))
        async with open_nursery() as nursery:
            nursery.start_soon(one.sendto, b"hi", other.getsockname())
            assert await other.recvfrom(10) == (b"hi", one.getsockname())
        buffer = bytearray(2)
        await one.sendto(b"ho", 0, other.getsockname())
        assert await other.recvfrom_into(buffer) == (2, one.getsockname())
        assert buffer == b"ho"


async def test_a_descriptor_says_itself_what_it_is() -> None:
    with stdlib.socket(stdlib.AF_INET, stdlib.SOCK_DGRAM) as plain:
        sock = sockets.fromfd(plain.fileno())
        with sock:
            assert (sock.family, sock.type) == (stdlib.AF_INET, stdlib.SOCK_DGRAM)
    with pytest.raises(TypeError):
        sockets.from_stdlib_socket(object())  # type: ignore[arg-type]


def test_host_names_in_ascii() -> None:
    assert encode_hostname("::1") == b"::1"
    assert encode_hostname("Example.org") == b"Example.org"
    assert encode_hostname("B\u00fccher.example.") == b"xn--bcher-kva.example."
    # What IDNA 2003 would turn into other names.
    assert encode_hostname("Fa\u00df.de") == b"xn--fa-hia.de"
    assert encode_hostname("\u03b2\u03cc\u03bb\u03bf\u03c2.com") == b"xn--nxasmm1c.com"
    with pytest.raises(UnicodeError):
        encode_hostname("\u00df" * 80)


def test_memory_channels_are_channels() -> None:
    send, receive = open_memory_channel[int](0)
    assert isinstance(send, SendChannel) and isinstance(receive, ReceiveChannel)
    assert not isinstance(send, ReceiveChannel)


async def test_a_generator_is_closed_forcefully() -> None:
    ended: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            try:
                await segue.sleep_forever()
            except Cancelled:
                ended.append("cancelled")
                raise

    generator = numbers()
    await anext(generator)
    await aclose_forcefully(generator)  # type: ignore[arg-type]
    assert ended == ["cancelled"]


# --- TLS ---


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(NAME).configure_cert(context)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.maximum_version = version
    return context


def wrap(
    transports: tuple[Any, Any], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **kwargs: Any
) -> tuple[SSLStream[Any], SSLStream[Any]]:
    client, server = transports
    return (
        SSLStream(client, client_context(version), server_hostname=NAME, **kwargs),
        SSLStream(server, server_context(), server_side=True, **kwargs),
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_streams_are_streams(version: ssl.TLSVersion) -> None:
    async def maker() -> tuple[SSLStream[Any], SSLStream[Any]]:
        return wrap(await tcp_pair(), version)

    async def clogged_maker() -> tuple[SSLStream[Any], SSLStream[Any]]:
        client, server = wrap(lockstep_stream_pair(), version)
        async with together((client.do_handshake,)):
            await server.do_handshake()
        return client, server

    await check_two_way_stream(maker, clogged_maker)


async def test_the_handshake_is_seen_in_the_attributes() -> None:
    client, server = wrap(await tcp_pair())
    assert client.server_hostname == NAME and server.server_side
    with pytest.raises(segue.NeedHandshakeError):
        client.version()
    async with client, server:
        async with together((client.do_handshake,)):
            await server.do_handshake()
        assert client.version() == server.version() == "TLSv1.3"
        assert ("DNS", NAME) in client.getpeercert()["subjectAltName"]
        with pytest.raises(AttributeError):
            client.nothing  # noqa: B018


async def test_all_who_wait_for_a_failed_handshake_are_told() -> None:
    left, right = await tcp_pair()
    client = SSLStream(left, ssl.create_default_context(), server_hostname=NAME)
    server = SSLStream(right, server_context(), server_side=True)

    async def serve() -> None:
        with pytest.raises(BrokenResourceError):
            await server.receive_some()

    async with together((serve,)):
        waiting = (raises, BrokenResourceError, client.do_handshake)
        async with together(waiting, waiting):
            with pytest.raises(BrokenResourceError):
                await client.send_all(b"x")
        await client.aclose()
    await server.aclose()
    await raises(ClosedResourceError, client.send_all, b"x")


async def test_a_wrong_certificate_is_the_cause() -> None:
    left, right = await tcp_pair()
    client = SSLStream(left, client_context(), server_hostname="another.example.org")
    server = SSLStream(right, server_context(), server_side=True)
    async with together((raises, BrokenResourceError, server.receive_some)):
        with pytest.raises(BrokenResourceError) as info:
            await client.do_handshake()
        assert isinstance(info.value.__cause__, ssl.SSLCertVerificationError)
        await client.aclose()
    await server.aclose()


async def test_a_client_that_only_sends_is_heard() -> None:
    client, server = wrap(await tcp_pair())

    async def send() -> None:
        async with client:
            await client.send_all(b"hello")

    async with server, together((send,)):
        assert await server.receive_some() == b"hello"
        assert await server.receive_some() == b""


async def test_a_cut_connection_is_broken_unless_https_compatible() -> None:
    for compatible in (False, True):
        client, server = wrap(await tcp_pair(), https_compatible=compatible)
        async with together((client.do_handshake,)):
            await server.do_handshake()
        await aclose_forcefully(client)
        async with server:
            if compatible:
                assert await server.receive_some() == b""
            else:
                with pytest.raises(BrokenResourceError) as info:
                    await server.receive_some()
                assert isinstance(info.value.__cause__, ssl.SSLEOFError)


async def test_a_send_that_was_cancelled_in_line_breaks_the_stream() -> None:
    client, server = wrap(memory_stream_pair())
    async with together((client.do_handshake,)):
        await server.do_handshake()
    # Somebody is sending: what `send_all` has encrypted stands in line.
    await client._send_lock.acquire()
    async with open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"lost")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    client._send_lock.release()
    with pytest.raises(BrokenResourceError):
        await client.send_all(b"x")
    await client.aclose()


async def test_plain_text_follows_after_unwrap() -> None:
    client, server = wrap(await tcp_pair())

    async def talk() -> None:
        await client.send_all(b"secret")
        assert await client.receive_some() == b""
        transport, rest = await client.unwrap()
        assert rest == b""
        await transport.send_all(b"plain")
        await transport.aclose()

    async with together((talk,)):
        assert await server.receive_some() == b"secret"
        transport, rest = await server.unwrap()
        async with transport:
            while chunk := await transport.receive_some():
                rest += chunk
        assert rest == b"plain"
    await raises(ClosedResourceError, server.receive_some)
    await server.aclose()


async def test_tls_is_served_over_tcp() -> None:
    async with open_nursery() as nursery:
        serve = partial(segue.serve_ssl_over_tcp, echo, 0, server_context(), host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        context = client_context()
        context.check_hostname = False
        async with await segue.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context) as stream:
            await stream.send_all(b"x" * 100_000)
            received = 0
            while received < 100_000:
                received += len(await stream.receive_some())
        # The same server, with asyncio's own TLS.
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(), server_hostname=NAME)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        nursery.cancel_scope.cancel()
