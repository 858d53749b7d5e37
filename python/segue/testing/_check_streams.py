"""Checks that hold for every stream, for whoever writes one.

A check is a function of the two ends of a new connection; `_CHECKS` and the like say which are run on which kind.
Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-testing.html#testing-custom-stream-implementations.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from .._core import CancelScope
from .._errors import BrokenResourceError, BusyResourceError, ClosedResourceError
from .._nursery import open_nursery
from .._scopes import Cancelled
from .._stream_abc import AsyncResource, HalfCloseableStream, ReceiveStream, SendStream, Stream
from .._streams import aclose_forcefully
from .._waits import wait_all_tasks_blocked
from ._checkpoints import assert_checkpoints

First = TypeVar("First", bound=AsyncResource)
Second = TypeVar("Second", bound=AsyncResource)
OneWayMaker = Callable[[], Awaitable[tuple[SendStream, ReceiveStream]]]
TwoWayMaker = Callable[[], Awaitable[tuple[Stream, Stream]]]
HalfCloseableMaker = Callable[[], Awaitable[tuple[HalfCloseableStream, HalfCloseableStream]]]

# More than any buffer at once would be too slow; sent until it fails.
_CHUNK = b"x" * 100
_DUPLEX_BYTES = 2**20
_DUPLEX_CHUNK = 2**14


@contextmanager
def assert_raises(expected: type[BaseException], *, wrapped: bool = False) -> Iterator[None]:
    """As pytest.raises, which isn't needed here. `wrapped`: alone in an exception group."""
    __tracebackhide__ = True
    try:
        yield
    except BaseExceptionGroup as group:
        if not wrapped or len(group.exceptions) != 1 or not isinstance(group.exceptions[0], expected):
            raise
    except expected as exc:
        if wrapped:
            raise AssertionError(f"{exc!r} was not in an exception group") from exc
    else:
        raise AssertionError(f"nothing was raised; expected: {expected.__name__}")


@asynccontextmanager
async def _connection(maker: Callable[[], Awaitable[tuple[First, Second]]]) -> AsyncIterator[tuple[First, Second]]:
    first, second = await maker()
    try:
        yield first, second
    finally:
        try:
            await aclose_forcefully(first)
        finally:
            await aclose_forcefully(second)


async def _together(*calls: tuple[Any, ...]) -> None:
    """Each call, `(async function, *arguments)`, in a task of its own."""
    async with open_nursery() as nursery:
        for function, *args in calls:
            nursery.start_soon(function, *args)


async def _send(stream: SendStream, data: bytes | bytearray | memoryview) -> None:
    with assert_checkpoints():
        returned: object = await stream.send_all(data)  # type: ignore[func-returns-value]
    assert returned is None


async def _receive(stream: ReceiveStream, *max_bytes: int | None) -> bytes | bytearray:
    with assert_checkpoints():
        return await stream.receive_some(*max_bytes)


async def _receive_this(stream: ReceiveStream, expected: bytes, *max_bytes: int | None) -> None:
    assert await _receive(stream, *max_bytes) == expected


async def _close(resource: AsyncResource) -> None:
    with assert_checkpoints():
        await resource.aclose()


async def _send_until_broken(stream: SendStream) -> None:
    with assert_raises(BrokenResourceError):
        while True:
            await _send(stream, _CHUNK)


async def _check_not_to_send(stream: SendStream, data: bytes) -> None:
    with assert_raises(ClosedResourceError):
        await _send(stream, data)


async def _check_not_to_receive(stream: ReceiveStream) -> None:
    with assert_raises(ClosedResourceError):
        await _receive(stream, 4096)


async def _close_when_blocked(resource: AsyncResource) -> None:
    await wait_all_tasks_blocked()
    await aclose_forcefully(resource)


async def _transfers(s: SendStream, r: ReceiveStream) -> None:
    async def nothing_then_a_byte() -> None:
        await _send(s, b"")
        await _send(s, b"y")

    assert isinstance(s, SendStream)
    assert isinstance(r, ReceiveStream)
    await _together((_send, s, b"x"), (_receive_this, r, b"x", 1))
    await _together((nothing_then_a_byte,), (_receive_this, r, b"y", 1))
    await _together((_send, s, bytearray(b"1")), (_receive_this, r, b"1", 1))
    await _together((_send, s, memoryview(b"2")), (_receive_this, r, b"2", 1))
    await _together((_send, s, b"x"), (_receive_this, r, b"x"))
    await _together((_send, s, b"x"), (_receive_this, r, b"x", None))

    for size in (-1, 0):
        with assert_raises(ValueError):
            await r.receive_some(size)
    with assert_raises(TypeError):
        await r.receive_some(1.5)  # type: ignore[arg-type]
    with assert_raises(BusyResourceError, wrapped=True):
        await _together((_receive, r, 1), (_receive, r, 1))
    await _while_somebody_receives_it_might_not_block(s, r)


async def _while_somebody_receives_it_might_not_block(s: SendStream, r: ReceiveStream) -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(_receive, r, 1)
        with assert_checkpoints():
            await s.wait_send_all_might_not_block()
        nursery.cancel_scope.cancel()


async def _closing_breaks_the_other_end(s: SendStream, r: ReceiveStream) -> None:
    await _together((_send, s, b"x"), (_receive_this, r, b"x", 1))
    await _together((_send_until_broken, s), (_close, r))
    with assert_raises(BrokenResourceError):
        await _send(s, _CHUNK)
    await _check_not_to_receive(r)
    await _close(r)
    await _close(r)

    await _close(s)
    await _check_not_to_send(s, _CHUNK)
    await _check_not_to_send(s, b"")
    with assert_raises(ClosedResourceError):
        await s.wait_send_all_might_not_block()
    await _close(s)
    await _close(s)


async def _what_was_sent_before_closing_arrives(s: SendStream, r: ReceiveStream) -> None:
    async def send_and_close() -> None:
        await _send(s, b"y")
        await _close(s)

    async def receive_later() -> None:
        await wait_all_tasks_blocked()
        await _receive_this(r, b"y", 1)
        await _receive_this(r, b"", 1)
        await _close(r)

    await _together((send_and_close,), (receive_later,))


async def _receiver_closed_forcefully(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(r)
    await _send_until_broken(s)
    await _check_not_to_receive(r)


async def _sender_closed_forcefully(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(s)
    await _check_not_to_send(s, b"123")
    # An end or an error: either may be seen, but no data, and no eternal wait.
    with suppress(BrokenResourceError):
        await _receive_this(r, b"", 1)


async def _cancelled_closing_closes(s: SendStream, r: ReceiveStream) -> None:
    for end in (r, s):
        with CancelScope() as scope:
            scope.cancel()
            await end.aclose()
    await _check_not_to_send(s, b"123")
    await _check_not_to_receive(r)


async def _closing_after_cancellations(s: SendStream, r: ReceiveStream) -> None:
    async def cancelled(function: Callable[..., Awaitable[object]], *args: object) -> None:
        with assert_raises(Cancelled):
            await function(*args)

    with CancelScope() as scope:
        scope.cancel()
        await _together((cancelled, _send, s, b"x"), (cancelled, _receive, r, 1))
    await _together((_close, s), (_close, r))


async def _closing_wakes_who_receives(s: SendStream, r: ReceiveStream) -> None:
    await _together((_check_not_to_receive, r), (_close_when_blocked, r))


_CHECKS = (
    _transfers,
    _closing_breaks_the_other_end,
    _what_was_sent_before_closing_arrives,
    _receiver_closed_forcefully,
    _sender_closed_forcefully,
    _cancelled_closing_closes,
    _closing_after_cancellations,
    _closing_wakes_who_receives,
)


async def _clogged_until_received(s: SendStream, r: ReceiveStream) -> None:
    order: list[str] = []

    async def receive_everything() -> None:
        await wait_all_tasks_blocked()
        order.append("receiving")
        while True:
            await r.receive_some(2**14)

    async with open_nursery() as nursery:
        nursery.start_soon(receive_everything)
        order.append("waiting")
        with assert_checkpoints():
            await s.wait_send_all_might_not_block()
        order.append("woken")
        nursery.cancel_scope.cancel()
    assert order == ["waiting", "receiving", "woken"]


async def _two_tasks_wait_to_send(s: SendStream, r: ReceiveStream) -> None:
    with assert_raises(BusyResourceError, wrapped=True):
        await _together((s.wait_send_all_might_not_block,), (s.wait_send_all_might_not_block,))
    # Last, since being cancelled may break the stream.
    with assert_raises(BusyResourceError, wrapped=True):
        await _together((s.wait_send_all_might_not_block,), (s.send_all, b"123"))


async def _two_tasks_send(s: SendStream, r: ReceiveStream) -> None:
    with assert_raises(BusyResourceError, wrapped=True):
        await _together((s.send_all, b"123"), (s.send_all, b"123"))


async def _wait_to_send(s: SendStream) -> None:
    with suppress(BrokenResourceError), assert_checkpoints():
        await s.wait_send_all_might_not_block()


async def _receiver_closes_while_waiting_to_send(s: SendStream, r: ReceiveStream) -> None:
    await _together((_wait_to_send, s), (_close_when_blocked, r))


async def _receiver_closes_before_waiting_to_send(s: SendStream, r: ReceiveStream) -> None:
    await aclose_forcefully(r)
    await _wait_to_send(s)


async def _closing_wakes_who_sends(s: SendStream, r: ReceiveStream) -> None:
    await _together((_check_not_to_send, s, b"xyzzy"), (_close_when_blocked, s))


async def _closing_wakes_who_waits_to_send(s: SendStream, r: ReceiveStream) -> None:
    async def wait() -> None:
        with assert_raises(ClosedResourceError):
            await s.wait_send_all_might_not_block()

    await _together((wait,), (_close_when_blocked, s))


_CLOGGED_CHECKS = (
    _clogged_until_received,
    _two_tasks_wait_to_send,
    _two_tasks_send,
    _receiver_closes_while_waiting_to_send,
    _receiver_closes_before_waiting_to_send,
    _closing_wakes_who_sends,
    _closing_wakes_who_waits_to_send,
)


async def _both_directions_at_once(s1: Stream, s2: Stream) -> None:
    async def send(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        rest = memoryview(data)
        while rest:
            size = sizes.randint(1, _DUPLEX_CHUNK)
            await stream.send_all(rest[:size])
            rest = rest[size:]

    async def receive(stream: Stream, expected: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        got = bytearray()
        while len(got) < len(expected):
            chunk = await stream.receive_some(sizes.randint(1, _DUPLEX_CHUNK))
            assert chunk, "the stream has ended too early"
            got += chunk
        assert got == expected

    async def expect_end() -> None:
        assert await s2.receive_some(10) == b""
        await s2.aclose()

    assert isinstance(s1, Stream)
    assert isinstance(s2, Stream)
    there = random.Random(0).randbytes(_DUPLEX_BYTES)
    back = there[::-1]
    await _together((send, s1, there, 0), (send, s2, back, 1), (receive, s1, back, 2), (receive, s2, there, 3))
    await _together((expect_end,), (s1.aclose,))


async def _ends_one_after_the_other(s1: HalfCloseableStream, s2: HalfCloseableStream) -> None:
    async def send_and_end(stream: HalfCloseableStream) -> None:
        await stream.send_all(b"x")
        with assert_checkpoints():
            await stream.send_eof()

    async def receive_later(stream: HalfCloseableStream) -> None:
        await wait_all_tasks_blocked()
        assert await stream.receive_some(10) == b"x"
        assert await stream.receive_some(10) == b""

    assert isinstance(s1, HalfCloseableStream)
    assert isinstance(s2, HalfCloseableStream)
    await _together((send_and_end, s1), (receive_later, s2))
    await _check_not_to_send(s1, b"y")
    with assert_checkpoints():
        await s1.send_eof()
    await _together((send_and_end, s2), (receive_later, s1))


async def _ending_while_another_task_sends(s1: HalfCloseableStream, s2: HalfCloseableStream) -> None:
    with assert_raises(BusyResourceError, wrapped=True):
        async with open_nursery() as nursery:
            nursery.start_soon(s1.send_all, b"x")
            await wait_all_tasks_blocked()
            nursery.start_soon(s1.send_eof)


async def _ending_while_another_task_waits_to_send(s1: HalfCloseableStream, s2: HalfCloseableStream) -> None:
    with assert_raises(BusyResourceError, wrapped=True):
        async with open_nursery() as nursery:
            nursery.start_soon(s1.wait_send_all_might_not_block)
            await wait_all_tasks_blocked()
            nursery.start_soon(s1.send_eof)


async def check_one_way_stream(stream_maker: OneWayMaker, clogged_stream_maker: OneWayMaker | None) -> None:
    """Check a kind of stream that goes one way; AssertionError if it isn't as it should be.

    `stream_maker`: an async function that returns two connected ends `(send, receive)`. `clogged_stream_maker`: the
    same, but into these nothing can be sent until something was received; None if that can't be made.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.check_one_way_stream
    """
    for check in _CHECKS:
        async with _connection(stream_maker) as (s, r):
            await check(s, r)
    if clogged_stream_maker is not None:
        for check in _CLOGGED_CHECKS:
            async with _connection(clogged_stream_maker) as (s, r):
                await check(s, r)


async def check_two_way_stream(stream_maker: TwoWayMaker, clogged_stream_maker: TwoWayMaker | None) -> None:
    """`check_one_way_stream` in both directions, and checks of both at once. In clogged streams both are clogged.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.check_two_way_stream
    """
    await check_one_way_stream(stream_maker, clogged_stream_maker)
    await check_one_way_stream(
        _flipped(stream_maker), None if clogged_stream_maker is None else _flipped(clogged_stream_maker)
    )
    async with _connection(stream_maker) as (s1, s2):
        await _both_directions_at_once(s1, s2)


def _flipped(maker: TwoWayMaker) -> TwoWayMaker:
    async def flipped() -> tuple[Stream, Stream]:
        first, second = await maker()
        return second, first

    return flipped


async def check_half_closeable_stream(
    stream_maker: HalfCloseableMaker, clogged_stream_maker: HalfCloseableMaker | None
) -> None:
    """`check_two_way_stream`, and checks of `send_eof`.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.check_half_closeable_stream
    """
    await check_two_way_stream(stream_maker, clogged_stream_maker)
    async with _connection(stream_maker) as (s1, s2):
        await _ends_one_after_the_other(s1, s2)
    if clogged_stream_maker is not None:
        for check in (_ending_while_another_task_sends, _ending_while_another_task_waits_to_send):
            async with _connection(clogged_stream_maker) as (s1, s2):
                await check(s1, s2)
