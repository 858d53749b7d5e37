"""The loop's methods for plain sockets: the `sock_…` coroutines, datagram endpoints, and names of addresses.

The coroutines are Python, as asyncio's are: nothing happens before they are awaited. What they do is in Rust
(`crates/py/src/sock_ops.rs`): one attempt, and a future if the socket isn't ready. Whatever is out of the ordinary
(debug mode, a blocking socket, a subclass of `socket.socket`) is left to asyncio's own code.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asyncio_private import SelectorEventLoop as _Loop
else:
    _Loop = object

_Future = _core.Future
_RUST_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class SocketMethods(_Loop):
    """A base of `segue.EventLoop`."""

    if TYPE_CHECKING:  # what `_core.LoopCore`, which comes before this class, has of them
        _debug: bool
        _sock_try_recv: Callable[[Any, int], Any]
        _sock_try_recv_into: Callable[[Any, Any], Any]
        _sock_try_recvfrom: Callable[[Any, int], Any]
        _sock_try_recvfrom_into: Callable[[Any, Any, int], Any]
        _sock_try_sendall: Callable[[Any, Any], Any]
        _sock_try_sendto: Callable[[Any, Any, Any], Any]
        _sock_try_accept: Callable[[Any], Any]
        _sock_is_plain: Callable[[Any], bool]
        _sock_stop_waiting: Callable[[Any, Any], None]

    async def sock_recv(self, sock: Any, n: int) -> bytes:
        """Receive up to `n` bytes; b"" at the end. `sock` must be non-blocking.

        Cancelled while it waits, it has taken nothing; as in asyncio, cancelling in the very turn in which bytes came
        drops those.
        """
        got: Any = self._sock_try_recv(sock, n)
        if type(got) is bytes:
            return got
        if got is NotImplemented:
            return await super().sock_recv(sock, n)
        # Here and in sock_sendall without _sock_wait: one coroutine less for each message.
        try:
            data: bytes = await got
        except BaseException:
            self._sock_stop_waiting(sock, got)
            raise
        return data

    async def sock_recv_into(self, sock: Any, buf: Any) -> int:
        """Receive into a writable buffer and return how many bytes. `sock` must be non-blocking."""
        got: Any = self._sock_try_recv_into(sock, buf)
        if got is NotImplemented:
            return await super().sock_recv_into(sock, buf)
        count: int = await self._sock_wait(sock, got) if type(got) is _Future else got
        return count

    async def sock_recvfrom(self, sock: Any, bufsize: int) -> Any:
        """Receive a datagram of up to `bufsize` bytes: `(bytes, address)`. `sock` must be non-blocking."""
        got: Any = self._sock_try_recvfrom(sock, bufsize)
        if got is NotImplemented:
            return await super().sock_recvfrom(sock, bufsize)
        return await self._sock_wait(sock, got) if type(got) is _Future else got

    async def sock_recvfrom_into(self, sock: Any, buf: Any, nbytes: int = 0) -> Any:
        """Receive a datagram into a writable buffer: `(number of bytes, address)`. `sock` must be non-blocking."""
        got: Any = self._sock_try_recvfrom_into(sock, buf, nbytes)
        if got is NotImplemented:
            return await super().sock_recvfrom_into(sock, buf, nbytes)
        return await self._sock_wait(sock, got) if type(got) is _Future else got

    async def sock_sendall(self, sock: Any, data: Any) -> None:
        """Send all of `data`. `sock` must be non-blocking. After an error it isn't known how much was sent."""
        got: Any = self._sock_try_sendall(sock, data)
        if got is None:
            return
        if got is NotImplemented:
            return await super().sock_sendall(sock, data)
        try:
            await got
        except BaseException:
            self._sock_stop_waiting(sock, got)
            raise

    async def sock_sendto(self, sock: Any, data: Any, address: Any) -> int:
        """Send a datagram and return how many bytes it had. `sock` must be non-blocking."""
        got: Any = self._sock_try_sendto(sock, data, address)
        if got is NotImplemented:
            return await super().sock_sendto(sock, data, address)
        count: int = await self._sock_wait(sock, got) if type(got) is _Future else got
        return count

    async def sock_accept(self, sock: Any) -> Any:
        """Accept a connection: `(non-blocking socket, address)`. `sock` must be listening and non-blocking."""
        got: Any = self._sock_try_accept(sock)
        if got is NotImplemented:
            return await super().sock_accept(sock)
        return await self._sock_wait(sock, got) if type(got) is _Future else got

    async def _sock_wait(self, sock: Any, future: Any) -> Any:
        try:
            return await future
        except BaseException:
            self._sock_stop_waiting(sock, future)
            raise

    def _make_datagram_transport(
        self, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any:
        if not self._sock_is_plain(sock) or sock.type != socket.SOCK_DGRAM or sock.family not in _RUST_FAMILIES:
            return super()._make_datagram_transport(sock, protocol, address, waiter, extra)
        self._ensure_fd_no_transport(sock)
        return _core.DatagramTransport(self, sock, protocol, address, waiter, extra)

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """What `socket.getaddrinfo` says, asked in a thread; numeric addresses and ports need none."""
        if not self._debug and _is_numeric(host, port):
            try:
                return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
            except OSError:
                pass  # Not numeric after all, or wrong: asked again as given, so that the error is the right one.
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """What `socket.getnameinfo` says, asked in a thread unless both answers are to be numbers."""
        if isinstance(flags, int) and flags & _NUMERIC == _NUMERIC:
            return socket.getnameinfo(sockaddr, flags)
        return await super().getnameinfo(sockaddr, flags)


def _is_numeric(host: Any, port: Any) -> bool:
    """Whether it looks as if no name had to be looked up."""
    if isinstance(port, str) and not port.isdecimal() or isinstance(port, bytes) and not port.isdigit():
        return False
    if isinstance(host, bytes):
        return host[:1].isdigit() or b":" in host
    return host is None or isinstance(host, str) and (host[:1].isdigit() or ":" in host)
