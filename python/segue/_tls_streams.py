"""TLS over any stream, through `ssl.MemoryBIO`; and TLS over TCP.

OpenSSL is asked for one step (read, write, handshake, shutdown). It reads from and writes to memory, and says when it
needs more to read; every step may need both directions, since either side may negotiate anew at any time (TLS 1.2 and
below). One task may be sending while another receives. So:

Rule 1: between a step and standing in line to send its output nobody else runs: what OpenSSL has written first is sent
        first. The lock for sending is first come, first served.
Rule 2: after each wait the step is asked again before anything else is waited for: another task may have brought what
        it needs.
Rule 3: whoever has waited for another task to receive doesn't receive too: nothing more may be coming.
Rule 4: when sending fails or is cancelled, be it while it stands in line, the stream is broken: output is missing.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#ssl-tls-support.
"""

from __future__ import annotations

import enum
import operator
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from ._conflicts import ConflictDetector
from ._core import Event, Lock
from ._errors import BrokenResourceError, BusyResourceError, ClosedResourceError, NeedHandshakeError
from ._idna import encode_hostname
from ._nursery import TASK_STATUS_IGNORED
from ._socket_streams import SocketStream
from ._stream_abc import Listener, Stream
from ._streams import aclose_forcefully, serve_listeners
from ._sync import StrictFIFOLock
from ._tcp import DEFAULT_DELAY, open_tcp_listeners, open_tcp_stream
from .lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

P = ParamSpec("P")
T = TypeVar("T")
Transport = TypeVar("Transport", bound=Stream)

# What receive_some() asks for until something larger has come: a bit more than a new TCP connection sends at once.
_FIRST_READ = 16384

_OF_CONNECTION = frozenset(
    {
        "session_reused",
        "getpeercert",
        "selected_npn_protocol",
        "cipher",
        "shared_ciphers",
        "compression",
        "get_channel_binding",
        "selected_alpn_protocol",
        "version",
    }
)
_FORWARDED = _OF_CONNECTION | {"context", "server_side", "server_hostname", "session", "pending"}


class _State(enum.Enum):
    OK = 1
    BROKEN = 2
    CLOSED = 3


def _is_eof(exc: BaseException | None) -> bool:
    """Whether TLS has failed because the transport ended without a close_notify."""
    return isinstance(exc, ssl.SSLEOFError)


class SSLStream(Stream, Generic[Transport]):
    """TLS over another stream.

    The handshake is done when it is first needed, or by `do_handshake`. The attributes and methods of `ssl.SSLObject`
    are here too; those that tell of the connection raise NeedHandshakeError before the handshake.

    `https_compatible`: the stream may end without a close_notify, and none is sent; many HTTPS programs want this.
    Otherwise such an end is a BrokenResourceError, since an attacker could have cut the connection.

    BrokenResourceError's `__cause__` is the SSLError. A cancelled send or handshake breaks the stream.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.SSLStream
    """

    transport_stream: Transport

    def __init__(
        self,
        transport_stream: Transport,
        ssl_context: ssl.SSLContext,
        *,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
    ) -> None:
        if isinstance(server_hostname, str):
            server_hostname = encode_hostname(server_hostname)
        self.transport_stream = transport_stream
        self._https_compatible = https_compatible
        self._state = _State.OK
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl_object = ssl_context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        # Set when the first handshake is over, well or not; None until it begins.
        self._handshake_over: Event | None = None
        self._handshake_done = False
        # Output of the handshake that goes out with what is sent next.
        self._held_back = b""
        self._send_lock = StrictFIFOLock()
        self._receive_lock = Lock()
        self._times_received = 0
        self._read_size = _FIRST_READ
        self._sending = ConflictDetector("another task is currently sending data on this SSLStream")
        self._receiving = ConflictDetector("another task is currently receiving data on this SSLStream")

    def __getattr__(self, name: str) -> Any:
        if name not in _FORWARDED:
            raise AttributeError(name)
        if name in _OF_CONNECTION and not self._handshake_done:
            raise NeedHandshakeError(f"call do_handshake() before calling {name!r}")
        return getattr(self._ssl_object, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FORWARDED:
            setattr(self._ssl_object, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_FORWARDED]

    def _check_open(self) -> None:
        if self._state is _State.BROKEN:
            raise BrokenResourceError("this TLS connection is broken")
        if self._state is _State.CLOSED:
            raise ClosedResourceError("this SSLStream is closed")

    async def _perform(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Have OpenSSL do one step; see the rules above. A checkpoint."""
        await checkpoint_if_cancelled()
        waited = False
        while True:
            done, result = self._attempt(step, *args, **kwargs)
            if await self._move(wants_input=not done):
                waited = True
            if done:
                break
        if not waited:
            await cancel_shielded_checkpoint()
        return result

    def _attempt(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[bool, T | None]:
        """Whether the step is done, and its result."""
        try:
            return True, step(*args, **kwargs)
        except ssl.SSLWantReadError:
            return False, None
        except ssl.SSLError as exc:
            self._state = _State.BROKEN
            raise BrokenResourceError(f"TLS failed: {exc}") from exc

    async def _move(self, *, wants_input: bool) -> bool:
        """Send what OpenSSL has written, or else receive if it wants that; whether there was anything to do."""
        output = self._outgoing.read()
        if output:
            await self._send(output)
        elif wants_input:
            await self._receive()
        else:
            return False
        return True

    async def _send(self, output: bytes) -> None:
        try:
            async with self._send_lock:
                output, self._held_back = self._held_back + output, b""
                await self.transport_stream.send_all(output)
        except BaseException:
            self._state = _State.BROKEN
            raise

    async def _receive(self) -> None:
        before = self._times_received
        async with self._receive_lock:
            if self._times_received != before:
                return
            data = await self.transport_stream.receive_some()
            self._times_received += 1
            if data:
                self._read_size = max(self._read_size, len(data))
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def _ensure_handshake(self) -> None:
        """A checkpoint only if the handshake is not over."""
        if self._handshake_done:
            return
        if self._handshake_over is None:
            self._handshake_over = Event()
            try:
                await self._perform(self._shake_hands)
                self._handshake_done = True
            except BaseException:
                self._state = _State.BROKEN
                raise
            finally:
                self._handshake_over.set()
        else:
            await self._handshake_over.wait()
            self._check_open()

    def _shake_hands(self) -> None:
        self._ssl_object.do_handshake()
        # What a server has written now are session tickets. A client that only sends would never read them, and if it
        # closes first, it loses its connection to a reset; so they wait for the first real message.
        # https://github.com/openssl/openssl/issues/7948
        if self._ssl_object.server_side and self._ssl_object.version() == "TLSv1.3":
            self._held_back = self._outgoing.read()

    async def do_handshake(self) -> None:
        """Do the handshake, if it hasn't been done. A checkpoint. A cancelled handshake breaks the stream."""
        self._check_open()
        if self._handshake_done:
            await checkpoint()
        else:
            await self._ensure_handshake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As `ReceiveStream.receive_some`. A cancelled handshake breaks the stream; otherwise cancel-safe."""
        with self._receiving:
            self._check_open()
            if max_bytes is not None:
                max_bytes = operator.index(max_bytes)
                if max_bytes < 1:
                    raise ValueError("max_bytes must be >= 1")
            try:
                await self._ensure_handshake()
                if max_bytes is None:
                    max_bytes = max(self._read_size, self._incoming.pending)
                received = await self._perform(self._ssl_object.read, max_bytes)
            except BrokenResourceError as exc:
                if not self._https_compatible or not self._is_ragged_end(exc.__cause__):
                    raise
                # The state stays: all that is left to do is to close, which works in any.
                await checkpoint()
                return b""
            assert received is not None
            return received

    def _is_ragged_end(self, exc: BaseException | None) -> bool:
        # Before the handshake OpenSSL may call the end a failed system call.
        return _is_eof(exc) or (not self._handshake_done and isinstance(exc, ssl.SSLSyscallError))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As `SendStream.send_all`. If it is cancelled, the stream is broken."""
        with self._sending:
            self._check_open()
            await self._ensure_handshake()
            if data:
                await self._perform(self._ssl_object.write, data)
            else:  # which OpenSSL would take for the end
                await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """As `SendStream.wait_send_all_might_not_block`, of the transport."""
        with self._sending:
            self._check_open()
            # Another task may have to send in order to receive: to this one that is not a conflict.
            async with self._send_lock:
                await self.transport_stream.wait_send_all_might_not_block()

    async def unwrap(self) -> tuple[Transport, bytes]:
        """End TLS with a close_notify from both sides, and go on without it: the transport, and bytes already received.

        This stream is closed afterwards; the transport isn't.
        """
        with self._receiving, self._sending:
            self._check_open()
            await self._ensure_handshake()
            await self._perform(self._ssl_object.unwrap)
            transport = self.transport_stream
            self._state = _State.CLOSED
            self.transport_stream = None  # type: ignore[assignment]
            return transport, self._incoming.read()

    async def aclose(self) -> None:
        """Send a close_notify, unless `https_compatible`, without waiting for the other side's; close the transport."""
        if self._state is _State.CLOSED:
            await checkpoint()
            return
        if self._state is _State.BROKEN or self._https_compatible:
            self._state = _State.CLOSED
            await self.transport_stream.aclose()
            return
        try:
            await self._ensure_handshake()
            # The other side may have closed already, which it may; or tasks are using the transport, which must end.
            with suppress(BrokenResourceError, BusyResourceError):
                await self._perform(self._say_goodbye)
        except BaseException:
            await aclose_forcefully(self.transport_stream)
            raise
        else:
            await self.transport_stream.aclose()
        finally:
            self._state = _State.CLOSED

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._ssl_object.unwrap()


class SSLListener(Listener[SSLStream[Transport]]):
    """A listener whose connections are `SSLStream`s over those of another. The handshake is not done in `accept`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.SSLListener
    """

    def __init__(
        self,
        transport_listener: Listener[Transport],
        ssl_context: ssl.SSLContext,
        *,
        https_compatible: bool = False,
    ) -> None:
        self.transport_listener = transport_listener
        self._ssl_context = ssl_context
        self._https_compatible = https_compatible

    async def accept(self) -> SSLStream[Transport]:
        """As `Listener.accept`."""
        return SSLStream(
            await self.transport_listener.accept(),
            self._ssl_context,
            server_side=True,
            https_compatible=self._https_compatible,
        )

    async def aclose(self) -> None:
        """Close the other listener."""
        await self.transport_listener.aclose()


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
) -> SSLStream[SocketStream]:
    """`open_tcp_stream`, and TLS over it; by default with `ssl.create_default_context()`. No handshake is done yet.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_ssl_over_tcp_stream
    """
    transport = await open_tcp_stream(host, port, happy_eyeballs_delay=happy_eyeballs_delay)
    if ssl_context is None:
        ssl_context = ssl.create_default_context()
        # Or OpenSSL would hide that a connection was cut.
        ssl_context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return SSLStream(transport, ssl_context, server_hostname=host, https_compatible=https_compatible)


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
) -> list[SSLListener[SocketStream]]:
    """`open_tcp_listeners`, and TLS over their connections.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_ssl_over_tcp_listeners
    """
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog)
    return [SSLListener(listener, ssl_context, https_compatible=https_compatible) for listener in listeners]


async def serve_ssl_over_tcp(
    handler: Callable[[SSLStream[SocketStream]], Awaitable[object]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    handler_nursery: Any = None,
    task_status: Any = TASK_STATUS_IGNORED,
) -> NoReturn:
    """`open_ssl_over_tcp_listeners`, then `serve_listeners`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.serve_ssl_over_tcp
    """
    listeners = await open_ssl_over_tcp_listeners(
        port, ssl_context, host=host, https_compatible=https_compatible, backlog=backlog
    )
    await serve_listeners(handler, listeners, handler_nursery=handler_nursery, task_status=task_status)
