"""What works with every kind of stream and listener: closing at once, joining two streams, serving.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#generic-stream-tools.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from ._core import CancelScope
from ._nursery import TASK_STATUS_IGNORED, open_nursery
from ._scopes import sleep
from ._stream_abc import AsyncResource, HalfCloseableStream, Listener, ReceiveStream, SendStream

SendEnd = TypeVar("SendEnd", bound=SendStream)
ReceiveEnd = TypeVar("ReceiveEnd", bound=ReceiveStream)
Accepted = TypeVar("Accepted", bound=AsyncResource)

# What accept() fails with when the process or the system has run out of something.
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
# Seconds until it is tried again.
_ACCEPT_AGAIN = 0.1

_logger = logging.getLogger("segue.serve_listeners")


async def aclose_forcefully(resource: AsyncResource) -> None:
    """Close something at once, without whatever would make it graceful. A checkpoint that never waits for others.

    It is `resource.aclose()`, cancelled from the beginning. Also closes async generators.
    https://trio.readthedocs.io/en/stable/reference-io.html#trio.aclose_forcefully
    """
    with CancelScope() as scope:
        scope.cancel("aclose_forcefully")
        await resource.aclose()


class StapledStream(HalfCloseableStream, Generic[SendEnd, ReceiveEnd]):
    """One stream made of two: it sends through `send_stream` and receives from `receive_stream`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.StapledStream
    """

    def __init__(self, send_stream: SendEnd, receive_stream: ReceiveEnd) -> None:
        self.send_stream = send_stream
        self.receive_stream = receive_stream

    def __repr__(self) -> str:
        return f"StapledStream(send_stream={self.send_stream!r}, receive_stream={self.receive_stream!r})"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """`send_stream.send_all`."""
        await self.send_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """`send_stream.wait_send_all_might_not_block`."""
        await self.send_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """`send_stream.send_eof`, or `aclose` if it has none."""
        send_eof: Callable[[], Awaitable[None]] = getattr(self.send_stream, "send_eof", self.send_stream.aclose)
        await send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """`receive_stream.receive_some`."""
        return await self.receive_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close both, the second also if the first fails."""
        try:
            await self.send_stream.aclose()
        finally:
            await self.receive_stream.aclose()


class _Starts(Protocol):
    """A nursery, as far as `serve_listeners` needs it."""

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any) -> Any: ...


async def serve_listeners(
    handler: Callable[[Any], Awaitable[object]],
    listeners: Sequence[Listener[Any]],
    *,
    handler_nursery: _Starts | None = None,
    task_status: Any = TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run `handler(stream)` in a task of its own for every connection that arrives; ends only by cancellation.

    The tasks are in `handler_nursery`, or in a nursery of this function's. A stream is closed, forcefully, when its
    handler ends; a handler that raises ends everything. So does a listener that raises, except when the process or
    the system has run out of descriptors or memory: that is logged, and accepting goes on 0.1 seconds later.
    The listeners are closed at the end. `nursery.start(serve_listeners, ...)` returns them.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.serve_listeners
    """
    async with open_nursery() as nursery:
        handlers = nursery if handler_nursery is None else handler_nursery
        for listener in listeners:
            nursery.start_soon(_serve_one, listener, handlers, handler)
        task_status.started(listeners)
    raise AssertionError("there was no listener to serve")


async def _serve_one(
    listener: Listener[Accepted], handlers: _Starts, handler: Callable[[Accepted], Awaitable[object]]
) -> NoReturn:
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:
                if exc.errno not in _OUT_OF_RESOURCES:
                    raise
                _logger.error(
                    "accept: %s (%s); retrying in %s seconds",
                    errno.errorcode[exc.errno],
                    os.strerror(exc.errno),
                    _ACCEPT_AGAIN,
                    exc_info=True,
                )
                await sleep(_ACCEPT_AGAIN)
            else:
                handlers.start_soon(_run_handler, stream, handler)


async def _run_handler(stream: Accepted, handler: Callable[[Accepted], Awaitable[object]]) -> None:
    try:
        await handler(stream)
    finally:
        await aclose_forcefully(stream)
