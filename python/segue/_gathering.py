"""Running many things at once: `gather`, `map_unordered`, `race`. When one of them returns, nothing is left running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from ._core import CancelScope, CapacityLimiter, Task, cancellation
from ._errors import WouldBlock
from ._nursery import Nursery, _name_of, _NurseryBlock
from ._sync import open_memory_channel

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _coroutine_of(awaitable: Any) -> Any:
    """What a task can run: the coroutine itself, or one that awaits the object."""
    if asyncio.iscoroutine(awaitable):
        return awaitable
    if hasattr(awaitable, "__await__"):
        return _awaiting(awaitable)
    raise TypeError(f"an awaitable was expected, got {awaitable!r}")


def _close_all(coroutines: Iterable[Any]) -> None:
    for coro in coroutines:
        if asyncio.iscoroutine(coro):
            coro.close()


class _TaskGroup(_NurseryBlock):
    """A nursery whose first failure comes out as it is; further ones go to the loop's exception handler."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        try:
            return await super().__aexit__(kind, exc, tb)
        except BaseExceptionGroup as group:
            if group is exc:
                raise
            raise _first_of(group, self._what) from None
        finally:
            del exc, tb


def _first_of(group: BaseExceptionGroup[BaseException], what: str) -> BaseException:
    failures = [exc for exc in group.exceptions if not isinstance(exc, asyncio.CancelledError)]
    first, *others = failures or group.exceptions
    for other in others:
        _report(other, f"{what}: a further task failed while it was being cancelled; {first!r} is what was raised")
    return first


def _report(exc: BaseException, message: str) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": exc})


# A few awaitables: a tuple to type checkers, as asyncio.gather in typeshed, so that each result has its own type.
@overload
async def gather(  # type: ignore[overload-overlap]
    a: Awaitable[T], b: Awaitable[U], /, *, limit: int | None = None, return_exceptions: Literal[False] = False
) -> tuple[T, U]: ...
@overload
async def gather(  # type: ignore[overload-overlap]
    a: Awaitable[T],
    b: Awaitable[U],
    c: Awaitable[V],
    /,
    *,
    limit: int | None = None,
    return_exceptions: Literal[False] = False,
) -> tuple[T, U, V]: ...
@overload
async def gather(  # type: ignore[overload-overlap]
    a: Awaitable[T],
    b: Awaitable[U],
    c: Awaitable[V],
    d: Awaitable[W],
    /,
    *,
    limit: int | None = None,
    return_exceptions: Literal[False] = False,
) -> tuple[T, U, V, W]: ...
@overload
async def gather(
    *awaitables: Awaitable[T], limit: int | None = None, return_exceptions: Literal[False] = False
) -> list[T]: ...
@overload
async def gather(
    *awaitables: Awaitable[T], limit: int | None = None, return_exceptions: bool
) -> list[T | BaseException]: ...
async def gather(  # type: ignore[misc]
    *awaitables: Awaitable[Any], limit: int | None = None, return_exceptions: bool = False
) -> list[Any]:
    """Run all awaitables at once, at most `limit` of them at a time; returns their results in the order given.

    If one fails, the others are cancelled and waited for, and what it raised is raised; failures that the others
    have meanwhile go to the loop's exception handler. With `return_exceptions`, exceptions take the results'
    places, and nothing is cancelled. Cancelling `gather` cancels all. Unlike `asyncio.gather`, nothing is left
    running when it returns or raises. TypeError for what can't be awaited, ValueError for a `limit` below 1.
    """
    if limit is not None and limit < 1:
        _close_all(awaitables)
        raise ValueError(f"limit must be at least 1, got {limit}")
    coroutines: list[Any] = []
    try:
        coroutines.extend(map(_coroutine_of, awaitables))
    except BaseException:
        _close_all((*awaitables, *coroutines))
        raise
    if return_exceptions:
        coroutines = [_outcome(coro) for coro in coroutines]
    tasks: list[asyncio.Task[Any]] = []
    async with _TaskGroup("segue.gather") as nursery:
        if limit is None:
            for coro in coroutines:
                tasks.append(nursery._spawn(None, coro, None))
        else:
            await _start_limited(nursery, coroutines, limit, tasks)
    return [task.result() for task in tasks]


async def _outcome(coro: Any) -> Any:
    try:
        return await coro
    except Exception as exc:
        return exc
    except asyncio.CancelledError as exc:
        info = cancellation(exc)
        if info is None or info.scoped:
            raise
        return exc


async def _start_limited(
    nursery: Nursery, coroutines: list[Any], limit: int, tasks: list[asyncio.Task[Any]]
) -> None:
    places = CapacityLimiter(limit)
    waiting = iter(coroutines)
    try:
        for number, coro in enumerate(waiting):
            try:
                await _take_place(places, number)
            except BaseException:
                _close_all([coro])
                raise
            tasks.append(nursery._spawn(None, _in_place(coro, places, number), None))
    finally:
        _close_all(waiting)


async def _take_place(places: CapacityLimiter, number: object) -> None:
    """Waits only while there is no place, so that as many as there are begin at once."""
    try:
        places.acquire_on_behalf_of_nowait(number)
    except WouldBlock:
        await places.acquire_on_behalf_of(number)


async def _in_place(coro: Any, places: CapacityLimiter, number: object) -> Any:
    try:
        return await coro
    finally:
        places.release_on_behalf_of(number)


async def race(*awaitables: Awaitable[T]) -> T:
    """Run all awaitables at once; returns or raises what the first that ends returns or raises.

    The others are cancelled and waited for; failures that they have meanwhile go to the loop's exception handler.
    ValueError without any.
    """
    if not awaitables:
        raise ValueError("race() needs at least one awaitable")
    winners: list[Any] = []
    coroutines: list[Any] = []
    try:
        coroutines.extend(map(_coroutine_of, awaitables))
    except BaseException:
        _close_all((*awaitables, *coroutines))
        raise
    try:
        async with _TaskGroup("segue.race") as nursery:
            for coro in coroutines:
                nursery._spawn(None, _runner(coro, winners, nursery.cancel_scope), None)
    except Exception as exc:
        if not winners:
            raise
        _report(exc, "segue.race: a task failed while it was being cancelled, as another one had won")
    result: T = winners[0]
    return result


async def _runner(coro: Any, winners: list[Any], scope: CancelScope) -> None:
    result = await coro
    if not winners:
        winners.append(result)
        scope.cancel(reason="another one won the race")


async def map_unordered(
    async_fn: Callable[[T], Awaitable[U]], items: Iterable[T] | AsyncIterable[T], *, limit: int | None = None
) -> AsyncGenerator[U, None]:
    """`async for result in map_unordered(fetch, urls, limit=10)`: results as they come, in any order.

    At most `limit` calls run at a time, results that wait to be taken included; items are taken only when there is
    room. If a call fails, the others are cancelled and what it raised is raised. If the loop over it is left
    early, so are the calls: at once with `contextlib.aclosing`, else when the generator is collected.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    send, receive = open_memory_channel[U](0)
    places = None if limit is None else CapacityLimiter(limit)

    async def one(item: T, number: int) -> None:
        try:
            await send.send(await async_fn(item))
        finally:
            if places is not None:
                places.release_on_behalf_of(number)

    async def start(nursery: Nursery, item: T, number: int) -> None:
        if places is not None:
            await _take_place(places, number)
        nursery.start_soon(one, item, number, name=_name_of(async_fn))

    async def all_of_them() -> None:
        number = 0
        with send:
            async with _TaskGroup("segue.map_unordered") as nursery:
                if isinstance(items, AsyncIterable):
                    async for item in items:
                        await start(nursery, item, number)
                        number += 1
                else:
                    for item in items:
                        await start(nursery, item, number)
                        number += 1

    # Not in a nursery: a generator may not hold one open across its `yield`.
    worker: asyncio.Task[None] = Task(all_of_them(), loop=asyncio.get_running_loop(), name="map_unordered")
    try:
        with receive:
            async for result in receive:
                yield result
        await worker
    finally:
        if not worker.done():
            worker.cancel("nobody takes the results any more")
            with CancelScope(shield=True):
                await asyncio.wait([worker])
        if not worker.cancelled():
            worker.exception()

