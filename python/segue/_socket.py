"""Sockets whose methods wait: what the streams are made of, with the names of Trio's `trio.socket`.

`SocketType` is the interface; programs can put their own sockets and their own lookup of names behind it. Every
method that waits is a checkpoint, also when it doesn't have to wait or fails. Closing a socket gives
ClosedResourceError to whoever waits for it; so does waiting BusyResourceError for the second of two tasks that wait
for the same direction.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#low-level-networking-with-trio-socket.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket as _stdlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from ._idna import encode_hostname
from ._lowlevel import RunVar, notify_closing, wait_readable, wait_writable
from ._scopes import sleep
from .lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._stream_abc import HostnameResolver, SocketFactory

T = TypeVar("T")

_Raised: TypeAlias = type[BaseException] | None  # in the classes below, `type` is something else
Address: TypeAlias = Any
AddrInfo: TypeAlias = tuple[_stdlib.AddressFamily, _stdlib.SocketKind, int, str, Address]

_NUMERIC_ONLY = _stdlib.AI_NUMERICHOST | getattr(_stdlib, "AI_NUMERICSERV", 0)

# How long to wait until a Unix socket's listener is asked again whether it has room, in seconds.
_FULL_BACKLOG = 0.01

_resolver: RunVar[HostnameResolver | None] = RunVar("hostname_resolver", None)
_factory: RunVar[SocketFactory | None] = RunVar("socket_factory", None)


def set_custom_hostname_resolver(hostname_resolver: HostnameResolver | None) -> HostnameResolver | None:
    """Let `hostname_resolver` look up names on this loop from now on; None: the system. Returns what did before."""
    before = _resolver.get()
    _resolver.set(hostname_resolver)
    return before


def set_custom_socket_factory(socket_factory: SocketFactory | None) -> SocketFactory | None:
    """Let `socket_factory` make what `socket()` returns on this loop; None: the system. Returns what did before."""
    before = _factory.get()
    _factory.set(socket_factory)
    return before


async def getaddrinfo(
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[AddrInfo]:
    """As `socket.getaddrinfo`, in a thread unless everything is numeric. A checkpoint. Cancel-safe."""
    await checkpoint_if_cancelled()
    try:
        found: list[Any] = _stdlib.getaddrinfo(host, port, family, type, proto, flags | _NUMERIC_ONLY)
    except _stdlib.gaierror as exc:
        if exc.errno != _stdlib.EAI_NONAME:
            await cancel_shielded_checkpoint()
            raise
    except BaseException:
        await cancel_shielded_checkpoint()
        raise
    else:
        await cancel_shielded_checkpoint()
        return found
    if isinstance(host, str):
        host = encode_hostname(host)
    resolver = _resolver.get()
    if resolver is not None:
        return await resolver.getaddrinfo(host, port, family, type, proto, flags)
    found = await _in_thread(_stdlib.getaddrinfo, host, port, family, type, proto, flags)
    return found


async def getnameinfo(sockaddr: Address, flags: int) -> tuple[str, str]:
    """As `socket.getnameinfo`, in a thread. A checkpoint. Cancel-safe."""
    resolver = _resolver.get()
    if resolver is not None:
        return await resolver.getnameinfo(sockaddr, flags)
    names: tuple[str, str] = await _in_thread(_stdlib.getnameinfo, sockaddr, flags)
    return names


async def getprotobyname(name: str) -> int:
    """As `socket.getprotobyname`, in a thread. A checkpoint. Cancel-safe."""
    number: int = await _in_thread(_stdlib.getprotobyname, name)
    return number


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """A call that only finds something out: nobody misses its result if the task is cancelled."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class SocketType:
    """The interface of sockets; `socket()` makes them. Custom sockets (of a `SocketFactory`) override what they offer.

    It isn't an abstract class of `abc`, since a test's socket may offer three methods and no more: what it doesn't
    offer says so when it is called, in a NotImplementedError with both names.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.socket.SocketType
    """

    def __init__(self) -> None:
        super().__init__()
        if type(self) is SocketType:
            raise TypeError("SocketType is an abstract class; use socket() to make a socket")

    def _not_offered(self) -> NotImplementedError:
        """The error of the method that calls this."""
        return NotImplementedError(f"{self.__class__.__qualname__} does not offer {sys._getframe(1).f_code.co_name}")

    @property
    def family(self) -> _stdlib.AddressFamily:
        raise self._not_offered()

    @property
    def type(self) -> _stdlib.SocketKind:
        raise self._not_offered()

    @property
    def proto(self) -> int:
        raise self._not_offered()

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """Whether `shutdown` was called for sending."""
        raise self._not_offered()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: _Raised, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        raise self._not_offered()

    def detach(self) -> int:
        raise self._not_offered()

    def dup(self) -> SocketType:
        raise self._not_offered()

    def close(self) -> None:
        """Close the socket; tasks that wait for it get ClosedResourceError."""
        raise self._not_offered()

    def getpeername(self) -> Address:
        raise self._not_offered()

    def getsockname(self) -> Address:
        raise self._not_offered()

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        raise self._not_offered()

    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | None, optlen: int | None = None
    ) -> None:
        raise self._not_offered()

    def get_inheritable(self) -> bool:
        raise self._not_offered()

    def set_inheritable(self, inheritable: bool) -> None:
        raise self._not_offered()

    def listen(self, backlog: int = min(_stdlib.SOMAXCONN, 128)) -> None:
        raise self._not_offered()

    def shutdown(self, flag: int) -> None:
        raise self._not_offered()

    def is_readable(self) -> bool:
        """Whether receiving would not have to wait."""
        raise self._not_offered()

    async def wait_writable(self) -> None:
        """Wait until sending would not have to wait."""
        raise self._not_offered()

    async def bind(self, address: Address) -> None:
        raise self._not_offered()

    async def accept(self) -> tuple[SocketType, Address]:
        raise self._not_offered()

    async def connect(self, address: Address) -> None:
        """Connect. If that is cancelled, the socket is closed: nobody knows what became of it."""
        raise self._not_offered()

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        raise self._not_offered()

    async def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        raise self._not_offered()

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Address]:
        raise self._not_offered()

    async def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Address]:
        raise self._not_offered()

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        raise self._not_offered()

    async def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Address]:
        raise self._not_offered()

    async def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        raise self._not_offered()

    async def sendto(self, *args: Any) -> int:
        """`sendto(data, address)` or `sendto(data, flags, address)`."""
        raise self._not_offered()

    async def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Address = None,
        /,
    ) -> int:
        raise self._not_offered()


class SystemSocket(SocketType):
    """A socket of the operating system."""

    def __init__(self, sock: _stdlib.socket) -> None:
        if type(sock) is not _stdlib.socket:  # an ssl.SSLSocket does more than its descriptor
            raise TypeError(f"expected object of type 'socket.socket', not '{type(sock).__name__}'")
        sock.setblocking(False)
        self._sock = sock
        self._did_shutdown_SHUT_WR = False

    @property
    def family(self) -> _stdlib.AddressFamily:
        return self._sock.family

    @property
    def type(self) -> _stdlib.SocketKind:
        return self._sock.type

    @property
    def proto(self) -> int:
        return self._sock.proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._did_shutdown_SHUT_WR

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: _Raised, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._sock).replace("socket.socket", "segue.socket", 1)

    def fileno(self) -> int:
        return self._sock.fileno()

    def detach(self) -> int:
        return self._sock.detach()

    def dup(self) -> SocketType:
        return SystemSocket(self._sock.dup())

    def close(self) -> None:
        if self._sock.fileno() != -1:
            if asyncio._get_running_loop() is not None:
                notify_closing(self._sock)
            self._sock.close()

    def getpeername(self) -> Address:
        return self._sock.getpeername()

    def getsockname(self) -> Address:
        return self._sock.getsockname()

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:
        if buflen is None:
            return self._sock.getsockopt(level, optname)
        return self._sock.getsockopt(level, optname, buflen)

    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | None, optlen: int | None = None
    ) -> None:
        if optlen is None:
            if value is None:
                raise TypeError("invalid value for argument 'value': None needs an optlen")
            self._sock.setsockopt(level, optname, value)
        else:
            if value is not None:
                raise TypeError(f"invalid value for argument 'value': {value!r}, must be None with an optlen")
            self._sock.setsockopt(level, optname, value, optlen)

    def get_inheritable(self) -> bool:
        return self._sock.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        self._sock.set_inheritable(inheritable)

    def listen(self, backlog: int = min(_stdlib.SOMAXCONN, 128)) -> None:
        self._sock.listen(backlog)

    def shutdown(self, flag: int) -> None:
        self._sock.shutdown(flag)
        if flag in (_stdlib.SHUT_WR, _stdlib.SHUT_RDWR):
            self._did_shutdown_SHUT_WR = True

    def is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    async def wait_writable(self) -> None:
        await wait_writable(self._sock)

    async def bind(self, address: Address) -> None:
        address = await self._resolve(address, local=True)
        await checkpoint()
        self._sock.bind(address)

    async def accept(self) -> tuple[SocketType, Address]:
        sock, address = await self._when(wait_readable, _stdlib.socket.accept)
        return SystemSocket(sock), address

    async def connect(self, address: Address) -> None:
        try:
            address = await self._resolve(address, local=False)
            await checkpoint_if_cancelled()
            while True:
                try:
                    self._sock.connect(address)
                except BlockingIOError as exc:
                    if exc.errno != errno.EAGAIN or self.family != _stdlib.AF_UNIX:
                        break  # on its way
                    # The listener has no room now, and nothing tells when it has.
                    await sleep(_FULL_BACKLOG)
                except BaseException:
                    await cancel_shielded_checkpoint()
                    raise
                else:
                    await cancel_shielded_checkpoint()
                    return
            await wait_writable(self._sock)
        except asyncio.CancelledError:
            self.close()
            raise
        error = self._sock.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_ERROR)
        if error:
            raise OSError(error, f"Error connecting to {address!r}: {os.strerror(error)}")

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        return await self._when(wait_readable, _stdlib.socket.recv, buflen, flags)

    async def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        return await self._when(wait_readable, _stdlib.socket.recv_into, buffer, nbytes, flags)

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Address]:
        return await self._when(wait_readable, _stdlib.socket.recvfrom, bufsize, flags)

    async def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Address]:
        return await self._when(wait_readable, _stdlib.socket.recvfrom_into, buffer, nbytes, flags)

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Address]:
        return await self._when(wait_readable, _stdlib.socket.recvmsg, bufsize, ancbufsize, flags)

    async def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Address]:
        return await self._when(wait_readable, _stdlib.socket.recvmsg_into, buffers, ancbufsize, flags)

    async def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        return await self._when(wait_writable, _stdlib.socket.send, data, flags)

    async def sendto(self, *args: Any) -> int:
        *first, address = args
        address = await self._resolve(address, local=False)
        return await self._when(wait_writable, _stdlib.socket.sendto, *first, address)

    async def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Address = None,
        /,
    ) -> int:
        if address is not None:
            address = await self._resolve(address, local=False)
        return await self._when(wait_writable, _stdlib.socket.sendmsg, buffers, ancdata, flags, address)

    async def _when(
        self,
        ready: Callable[[Any], Awaitable[None]],
        attempt: Callable[..., T],
        *args: Any,
    ) -> T:
        """Make the attempt, first at once, then whenever the socket is ready, until it doesn't have to wait.

        At once, so that an error comes at once: a socket that doesn't listen never gets ready to accept.
        """
        await checkpoint_if_cancelled()
        try:
            result = attempt(self._sock, *args)
        except BlockingIOError:
            pass
        except BaseException:
            await cancel_shielded_checkpoint()
            raise
        else:
            await cancel_shielded_checkpoint()
            return result
        while True:
            await ready(self._sock)
            try:
                return attempt(self._sock, *args)
            except BlockingIOError:
                pass

    async def _resolve(self, address: Address, *, local: bool) -> Address:
        """The address with names looked up; not a checkpoint if there are none. `local`: it is for `bind`."""
        family = self.family
        if family == _stdlib.AF_UNIX:
            return os.fspath(address)
        if family == _stdlib.AF_INET:
            if not isinstance(address, tuple) or len(address) != 2:
                raise ValueError("address should be a (host, port) tuple")
        elif family == _stdlib.AF_INET6:
            if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
                raise ValueError("address should be a (host, port, [flowinfo, [scopeid]]) tuple")
        else:
            return address
        host, port, *rest = address
        if isinstance(port, int) and _is_numeric(family, host):
            return address
        # As in the standard library.
        if host == "":
            host = None
        elif host == "<broadcast>":
            host = "255.255.255.255"
        flags = _stdlib.AI_PASSIVE if local else 0
        if family == _stdlib.AF_INET6 and not self._sock.getsockopt(_stdlib.IPPROTO_IPV6, _stdlib.IPV6_V6ONLY):
            flags |= _stdlib.AI_V4MAPPED
        first, *_ = await getaddrinfo(host, port, family, self.type, self.proto, flags)
        found = first[4]
        return (*found[:2], *rest, *found[2 + len(rest) :])


def _is_numeric(family: int, host: Any) -> bool:
    try:
        _stdlib.inet_pton(family, host)
    except (OSError, TypeError):
        return False
    return True


def from_stdlib_socket(sock: _stdlib.socket) -> SocketType:
    """A socket of the standard library, from now on used only through what is returned."""
    return SystemSocket(sock)


def socketpair(
    family: int | None = None, type: int = _stdlib.SOCK_STREAM, proto: int = 0
) -> tuple[SocketType, SocketType]:
    """As `socket.socketpair`."""
    left, right = _stdlib.socketpair(family, type, proto)
    return SystemSocket(left), SystemSocket(right)


def socket(
    family: int = _stdlib.AF_INET,
    type: int = _stdlib.SOCK_STREAM,
    proto: int = 0,
    fileno: int | None = None,
) -> SocketType:
    """As `socket.socket`; made by the custom socket factory, if there is one."""
    if fileno is None:
        factory = _factory.get() if asyncio._get_running_loop() is not None else None
        if factory is not None:
            return factory.socket(family, type, proto)
        return SystemSocket(_stdlib.socket(family, type, proto))
    return SystemSocket(_stdlib.socket(*_kind_of(fileno, (family, type, proto)), fileno=fileno))


def fromfd(fd: int, family: int = _stdlib.AF_INET, type: int = _stdlib.SOCK_STREAM, proto: int = 0) -> SocketType:
    """As `socket.fromfd`."""
    return SystemSocket(_stdlib.fromfd(fd, *_kind_of(fd, (family, type, proto))))


def _kind_of(fd: int, said: tuple[int, int, int]) -> tuple[int, int, int]:
    """What a descriptor really is: family, type and protocol; what was said of it where the system doesn't tell."""
    if sys.platform != "linux":
        return said
    probe = _stdlib.socket(*said, fileno=fd)
    try:
        return (
            probe.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_DOMAIN),
            probe.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_TYPE),
            probe.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_PROTOCOL),
        )
    finally:
        probe.detach()


__all__ = [
    "SocketType",
    "from_stdlib_socket",
    "fromfd",
    "getaddrinfo",
    "getnameinfo",
    "getprotobyname",
    "set_custom_hostname_resolver",
    "set_custom_socket_factory",
    "socket",
    "socketpair",
]
