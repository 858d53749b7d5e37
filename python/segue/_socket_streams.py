"""Streams and listeners over sockets, and connecting to Unix sockets. TCP's own are in `_tcp.py`.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#sockets-and-networking.
"""

from __future__ import annotations

import errno
import os
import socket as _stdlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from ._conflicts import ConflictDetector
from ._errors import BrokenResourceError, ClosedResourceError
from ._socket import SocketType, socket
from ._stream_abc import HalfCloseableStream, Listener
from .lowlevel import checkpoint

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Bytes that receive_some() asks for by default.
_RECEIVE_SIZE = 65536
# Bytes that may lie unsent in the kernel: more would only make what is sent older.
_UNSENT = 16384

_CLOSED = frozenset({errno.EBADF, errno.ENOTSOCK})

# What accept() may fail with because of a connection that is gone again; the listener is as good as before.
_CONNECTION_LOST = frozenset(
    {
        errno.EPERM,  # the firewall
        errno.ECONNABORTED,
        errno.ECONNRESET,
        # Linux passes errors that the connection has met already; see accept(2).
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.ESOCKTNOSUPPORT,
        errno.EPROTONOSUPPORT,
        errno.ETIMEDOUT,
    }
    | {getattr(errno, name) for name in ("ENONET", "ENOSR") if hasattr(errno, name)}
)


def _stream_error(exc: OSError) -> ClosedResourceError | BrokenResourceError:
    """What a stream raises when its socket has raised `exc`."""
    if exc.errno in _CLOSED:
        return ClosedResourceError("this socket was already closed")
    return BrokenResourceError(f"socket connection broken: {exc}")


class SocketStream(HalfCloseableStream):
    """A connection through a socket (of `segue.socket`, connected, SOCK_STREAM), which it owns.

    TCP_NODELAY is set, and TCP_NOTSENT_LOWAT to 16 KiB, where the socket has them.
    https://trio.readthedocs.io/en/stable/reference-io.html#trio.SocketStream
    """

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError("SocketStream requires a socket of segue's, not of the standard library")
        if socket.type != _stdlib.SOCK_STREAM:
            raise ValueError("SocketStream requires a SOCK_STREAM socket")
        self.socket = socket
        self._sending = ConflictDetector("another task is currently sending data on this SocketStream")
        # Unix sockets have neither.
        with suppress(OSError):
            self.setsockopt(_stdlib.IPPROTO_TCP, _stdlib.TCP_NODELAY, True)
        with suppress(OSError, AttributeError):
            self.setsockopt(_stdlib.IPPROTO_TCP, _stdlib.TCP_NOTSENT_LOWAT, _UNSENT)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending, memoryview(data) as given, given.cast("B") as rest:
            self._check_open_to_send()
            if not rest:
                await checkpoint()
                return
            sent = 0
            try:
                while sent < len(rest):
                    with rest[sent:] as unsent:
                        sent += await self.socket.send(unsent)
            except OSError as exc:
                raise _stream_error(exc) from exc

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_open_to_send()
            await self.socket.wait_writable()

    def _check_open_to_send(self) -> None:
        if self.socket.fileno() == -1:
            raise ClosedResourceError("this socket was already closed")
        if self.socket.did_shutdown_SHUT_WR:
            raise ClosedResourceError("can't send data after sending EOF")

    async def send_eof(self) -> None:
        with self._sending:
            await checkpoint()
            if not self.socket.did_shutdown_SHUT_WR:
                try:
                    self.socket.shutdown(_stdlib.SHUT_WR)
                except OSError as exc:
                    raise _stream_error(exc) from exc

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = _RECEIVE_SIZE
        elif max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        try:
            return await self.socket.recv(max_bytes)
        except OSError as exc:
            raise _stream_error(exc) from exc

    async def aclose(self) -> None:
        self.socket.close()
        await checkpoint()

    def setsockopt(
        self, level: int, option: int, value: int | ReadableBuffer | None, length: int | None = None
    ) -> None:
        """As `socket.socket.setsockopt`."""
        if length is not None and value is not None:
            raise TypeError(f"invalid value for argument 'value': {value!r}, must be None with a length")
        if length is None:
            if value is None:
                raise TypeError("invalid value for argument 'value': None needs a length")
            self.socket.setsockopt(level, option, value)
        else:
            self.socket.setsockopt(level, option, value, length)

    def getsockopt(self, level: int, option: int, buffersize: int = 0) -> int | bytes:
        """As `socket.socket.getsockopt`."""
        if buffersize == 0:
            return self.socket.getsockopt(level, option)
        return self.socket.getsockopt(level, option, buffersize)


class SocketListener(Listener[SocketStream]):
    """What listens on a socket (of `segue.socket`, listening, SOCK_STREAM), which it owns.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.SocketListener
    """

    def __init__(self, socket: SocketType) -> None:
        if not isinstance(socket, SocketType):
            raise TypeError("SocketListener requires a socket of segue's, not of the standard library")
        if socket.type != _stdlib.SOCK_STREAM:
            raise ValueError("SocketListener requires a SOCK_STREAM socket")
        try:
            listening = socket.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_ACCEPTCONN)
        except OSError:
            pass  # macOS doesn't tell
        else:
            if not listening:
                raise ValueError("SocketListener requires a listening socket")
        self.socket = socket

    async def accept(self) -> SocketStream:
        """Wait for the next connection. A checkpoint. Cancel-safe.

        Connections that were lost before they were accepted are passed over. Raises ClosedResourceError, and OSError
        for anything else, such as EMFILE.
        """
        while True:
            try:
                sock, _ = await self.socket.accept()
            except OSError as exc:
                if exc.errno in _CLOSED:
                    raise ClosedResourceError("this listener was already closed") from None
                if exc.errno not in _CONNECTION_LOST:
                    raise
            else:
                return SocketStream(sock)

    async def aclose(self) -> None:
        self.socket.close()
        await checkpoint()


class _Closable(Protocol):
    def close(self) -> object: ...


Closable = TypeVar("Closable", bound=_Closable)


@contextmanager
def close_on_error(closable: Closable) -> Iterator[Closable]:
    """Close it if the block raises."""
    try:
        yield closable
    except BaseException:
        closable.close()
        raise


async def open_unix_socket(filename: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> SocketStream:
    """Connect to a Unix socket. A checkpoint. OSError if that fails.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_unix_socket
    """
    if not hasattr(_stdlib, "AF_UNIX"):
        raise RuntimeError("Unix sockets are not supported on this platform")
    path = os.fspath(filename)
    with close_on_error(socket(_stdlib.AF_UNIX, _stdlib.SOCK_STREAM)) as sock:
        await sock.connect(path)
        return SocketStream(sock)
