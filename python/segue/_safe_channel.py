"""`as_safe_channel`: asynchronous generators that keep to structured concurrency.

A generator that yields from inside a nursery or a cancel scope lets its consumer run inside of them. Here it
runs in a task of its own instead, one step for each value that somebody asks for, and is closed when the
block that uses it is left.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#trio.as_safe_channel
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from ._core import MemoryReceiveChannel, MemorySendChannel, Semaphore
from ._errors import BrokenResourceError, EndOfChannel
from ._nursery import open_nursery
from ._scopes import Cancelled
from ._sync import open_memory_channel

P = ParamSpec("P")
T = TypeVar("T")


class SafeReceiveChannel(Generic[T]):
    """What `async with` gives: the values of the generator, for one task or several."""

    __slots__ = ("_asked", "_channel")

    def __init__(self, channel: MemoryReceiveChannel[T], asked: Semaphore) -> None:
        self._channel = channel
        self._asked = asked

    async def receive(self) -> T:
        """The next value; the generator runs only now. EndOfChannel behind the last one. A checkpoint."""
        self._asked.release()
        return await self._channel.receive()

    async def aclose(self) -> None:
        """Stop the generator; `receive` raises ClosedResourceError from now on. A checkpoint."""
        await self._channel.aclose()

    async def __aenter__(self) -> SafeReceiveChannel[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> SafeReceiveChannel[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


def as_safe_channel(
    fn: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[SafeReceiveChannel[T]]]:
    """Decorates an async generator function, which is then used as `async with f(x) as values: async for
    value in values: ...`.

    The generator runs in a task of its own, only while a value is waited for, and is closed when the block
    is left. What it raises is raised by the block: as it is if that is all, else in an ExceptionGroup with
    what the block itself raised.
    """

    @asynccontextmanager
    @functools.wraps(fn)
    async def safe_channel(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[SafeReceiveChannel[T], None]:
        send, receive = open_memory_channel[T](0)
        asked = Semaphore(0)
        several = None
        try:
            async with open_nursery(strict_exception_groups=True) as nursery:
                await nursery.start(_send_values, fn(*args, **kwargs), send, asked)
                # Not `async with`: its checkpoint could raise in the place of what the block raised.
                with receive:
                    yield SafeReceiveChannel(receive, asked)
                nursery.cancel_scope.cancel(reason="the block around a safe channel was left")
        except BaseExceptionGroup as group:
            several = group
        if several is not None:
            try:
                _raise_the_only_one(several)
            finally:
                del several

    return safe_channel


async def _send_values(
    values: AsyncGenerator[T, None], send: MemorySendChannel[T], asked: Semaphore, *, task_status: Any
) -> None:
    with send:
        try:
            task_status.started()
            while True:
                await asked.acquire()
                if send.statistics().open_receive_channels == 0:
                    return
                try:
                    value = await values.__anext__()
                except StopAsyncIteration:
                    return
                try:
                    await send.send(value)
                except BrokenResourceError:
                    return
        finally:
            await _close(values)


async def _close(values: AsyncGenerator[Any, None]) -> None:
    """`aclose()`, which takes its GeneratorExit back, but not out of the group that a nursery makes of it."""
    try:
        await values.aclose()
    except BaseExceptionGroup as group:
        exits, others = group.split(GeneratorExit)
        found = others
        if exits is not None and _count(exits) > 1:
            extra = AssertionError("the generator raised a GeneratorExit of its own")
            found = group.derive([*(others.exceptions if others is not None else ()), extra])
        if found is not None:
            raise found from None


def _count(exc: BaseException) -> int:
    return sum(map(_count, exc.exceptions)) if isinstance(exc, BaseExceptionGroup) else 1


def _raise_the_only_one(group: BaseExceptionGroup[BaseException]) -> None:
    """Raises what isn't a cancellation, if that is one; a cancellation, if there is nothing else; else the group."""
    for exc in group.exceptions:
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise type(exc)(*exc.args) from group
    errors = [exc for exc in group.exceptions if not isinstance(exc, Cancelled)]
    if len(errors) > 1:
        group.add_note(
            "Encountered exception during cleanup of generator object, as "
            "well as exception in the contextmanager body - unable to unwrap."
        )
        raise group
    only = errors[0] if errors else group.exceptions[0]
    before = only.__context__
    try:
        raise only
    finally:
        only.__context__ = before
        del only, before, errors
