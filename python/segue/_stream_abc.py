"""The interfaces of streams, listeners and channels, and of what can replace the network.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#the-abstract-stream-api.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ._core import MemoryReceiveChannel, MemorySendChannel
from ._errors import EndOfChannel

if TYPE_CHECKING:
    from ._socket import AddrInfo, SocketType

T = TypeVar("T")
Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)


class AsyncResource(ABC):
    """Something that has to be closed, which may take time. `async with` closes it.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.AsyncResource
    """

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None:
        """Close it. A checkpoint; if it is cancelled or fails, it is closed all the same, but not gracefully.

        Closing again does nothing. Tasks that are using it get ClosedResourceError.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()


class SendStream(AsyncResource):
    """The end of a byte stream that bytes are written to.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.SendStream
    """

    __slots__ = ()

    @abstractmethod
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting as long as the other side is slow. A checkpoint.

        BusyResourceError if another task is sending, BrokenResourceError if the connection is broken,
        ClosedResourceError if this end is closed, now or meanwhile. Not cancel-safe: when it raises, Cancelled
        included, nobody knows how much was sent.
        """

    @abstractmethod
    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` may succeed without waiting; possibly too early, never too late. A checkpoint.

        For programs that decide at the last moment what to send. Errors as for `send_all`. Cancel-safe.
        """


class ReceiveStream(AsyncResource):
    """The end of a byte stream that bytes are read from. `async for chunk in stream:` reads to its end.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.ReceiveStream
    """

    __slots__ = ()

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive at least one and at most `max_bytes` bytes (None: as many as are convenient); b"" at the end.

        A checkpoint. BusyResourceError if another task is receiving, BrokenResourceError if the connection is broken,
        ClosedResourceError if this end is closed, now or meanwhile. ValueError if `max_bytes` is below one.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | bytearray:
        data = await self.receive_some()
        if not data:
            raise StopAsyncIteration
        return data


class Stream(SendStream, ReceiveStream):
    """Both ends in one: a connection. https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.Stream"""

    __slots__ = ()


class HalfCloseableStream(Stream):
    """A connection that can say that it has nothing more to send, and still receive.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.HalfCloseableStream
    """

    __slots__ = ()

    @abstractmethod
    async def send_eof(self) -> None:
        """Let the other side read to an end. A checkpoint. Doing it again does nothing.

        Sending afterwards is a ClosedResourceError. Errors as for `send_all`.
        """


class Listener(AsyncResource, Generic[Received]):
    """Something that connections arrive at.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.Listener
    """

    __slots__ = ()

    @abstractmethod
    async def accept(self) -> Received:
        """Wait for the next connection and return it: usually a `Stream`. A checkpoint. Cancel-safe.

        BusyResourceError if another task is accepting, ClosedResourceError if the listener is closed, now or
        meanwhile; others as they come, such as OSError with EMFILE.
        """


class SendChannel(AsyncResource, Generic[Sent]):
    """The end of a channel that objects are sent into.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.SendChannel
    """

    __slots__ = ()

    @abstractmethod
    async def send(self, value: Sent) -> None:
        """Send an object, waiting while the channel is full. A checkpoint.

        BrokenResourceError if it can't arrive any more, ClosedResourceError if this end is closed, now or meanwhile;
        BusyResourceError from channels that only one task at a time can send into.
        """


class ReceiveChannel(AsyncResource, Generic[Received]):
    """The end of a channel that objects come out of. `async for value in channel:` receives to the end.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.ReceiveChannel
    """

    __slots__ = ()

    @abstractmethod
    async def receive(self) -> Received:
        """Wait for the next object and return it. A checkpoint.

        EndOfChannel if no more will come, ClosedResourceError if this end is closed, now or meanwhile,
        BrokenResourceError if the channel is broken; BusyResourceError from channels that only one task at a time can
        receive from.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


class Channel(SendChannel[T], ReceiveChannel[T]):
    """Both ends in one. https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.Channel"""

    __slots__ = ()


SendChannel.register(MemorySendChannel)
ReceiveChannel.register(MemoryReceiveChannel)


class HostnameResolver(ABC):
    """What looks names up instead of the system; for `set_custom_hostname_resolver`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.HostnameResolver
    """

    __slots__ = ()

    @abstractmethod
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddrInfo]:
        """As `socket.getaddrinfo`. Names are ASCII already; numeric addresses may never be asked for."""

    @abstractmethod
    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`."""


class SocketFactory(ABC):
    """What makes sockets instead of the system; for `set_custom_socket_factory`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.abc.SocketFactory
    """

    __slots__ = ()

    @abstractmethod
    def socket(
        self,
        family: socket.AddressFamily | int = socket.AF_INET,
        type: socket.SocketKind | int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> SocketType:
        """Make a socket: an object of a subclass of `SocketType`."""
