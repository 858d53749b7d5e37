"""Running many things at once: `gather`, `map_unordered`, `race`. When one of them returns, nothing is left running."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from ._core import CancelScope, CapacityLimiter, Task, cancellation, current_effective_deadline
from ._errors import WouldBlock
from ._nursery import Nursery, _name_of, _NurseryBlock
from ._scopes import _until
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


def _coroutines_of(awaitables: Sequence[Any]) -> list[Any]:
    """For all of them; if one is no awaitable, the others are closed, so that Python doesn't warn of them too."""
    coroutines: list[Any] = []
    try:
        coroutines.extend(map(_coroutine_of, awaitables))
    except BaseException:
        _close_all((*awaitables, *coroutines))
        raise
    return coroutines


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) and limit != math.inf:
        raise TypeError(f"limit must be an int or None, got {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")


class _TaskGroup(_NurseryBlock):
    """A nursery whose first failure comes out as it is; further ones go to the loop's exception handler.

    A task that is cancelled by `Task.cancel()` has failed as well: nobody would get its result.
    """

    __slots__ = ("_coroutines", "_what")

    def __init__(self, what: str, coroutines: Iterable[Any] = ()) -> None:
        super().__init__(strict=True)
        self._what = what
        self._coroutines = coroutines

    async def __aenter__(self) -> Nursery:
        coroutines, self._coroutines = self._coroutines, ()
        try:
            nursery = await super().__aenter__()
        except BaseException:
            _close_all(coroutines)
            raise
        nursery._need_all()
        return nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        group = None
        try:
            return await super().__aexit__(kind, exc, tb)
        except BaseExceptionGroup as raised:
            group = raised
            first = _first_of(group, self._what)
        finally:
            del exc, tb
        # Not in the handler, and with the context that it has: it comes out as its task has raised it.
        before = first.__context__
        try:
            raise first
        finally:
            first.__context__ = before
            del first, before, group


def _first_of(group: BaseExceptionGroup[BaseException], what: str) -> BaseException:
    failures = [exc for exc in group.exceptions if not isinstance(exc, asyncio.CancelledError)]
    first, *others = failures or group.exceptions
    for other in others:
        about = f"{what}: a further task failed while it was being cancelled; {_shown(first)} is what was raised"
        _report(other, about)
    return first


def _shown(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:
        return f"a {type(exc).__name__}"


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
    have meanwhile go to the loop's exception handler. One that is cancelled by itself (`Task.cancel()`) has failed,
    with CancelledError. With `return_exceptions`, exceptions take the results' places, and nothing is cancelled.
    Cancelling `gather` cancels all. What is given several times runs once. Unlike `asyncio.gather`, nothing is left
    running when it returns or raises. TypeError for what can't be awaited, ValueError for a `limit` below 1.

    https://docs.python.org/3/library/asyncio-task.html#asyncio.gather
    """
    try:
        _check_limit(limit)
    except BaseException:
        _close_all(awaitables)
        raise
    distinct = _distinct(awaitables)
    if len(distinct) < len(awaitables):
        places = {id(awaitable): place for place, awaitable in enumerate(distinct)}
        results: list[Any] = await gather(*distinct, limit=limit, return_exceptions=return_exceptions)
        return [results[places[id(awaitable)]] for awaitable in awaitables]
    coroutines = _coroutines_of(awaitables)
    if return_exceptions:
        coroutines = [_outcome(coro) for coro in coroutines]
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with _TaskGroup("segue.gather", coroutines) as nursery:
            if limit is None:
                for coro in coroutines:
                    tasks.append(nursery._spawn(None, coro, None))
            else:
                await _start_limited(nursery, coroutines, limit, tasks)
        return [task.result() for task in tasks]
    finally:
        del tasks  # no cycle of exceptions and frames


def _distinct(awaitables: Sequence[Any]) -> Sequence[Any]:
    """Each of them once."""
    try:
        if len(set(awaitables)) == len(awaitables):
            return awaitables
    except TypeError:  # one can't be hashed
        pass
    return list({id(awaitable): awaitable for awaitable in awaitables}.values())


async def _outcome(coro: Any) -> Any:
    try:
        return await coro
    except Exception as exc:
        return exc
    except asyncio.CancelledError as exc:
        info = cancellation(exc)
        # Without a source it is a cancelled future's, or a library's way of passing on what a scope has thrown.
        by_scope = current_effective_deadline() == -math.inf if info is None else info.scoped
        if by_scope:
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
    If the first to end was cancelled by itself (`Task.cancel()`), that is CancelledError. Cancelling `race` cancels
    all, and nothing is left running. ValueError without any, TypeError for what can't be awaited.
    """
    if not awaitables:
        raise ValueError("race() needs at least one awaitable")
    winners: list[Any] = []
    coroutines = _coroutines_of(_distinct(awaitables))
    try:
        async with _TaskGroup("segue.race", coroutines) as nursery:
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
    room. If a call fails, or is cancelled by itself (`Task.cancel()`), the others are cancelled and what it raised is
    raised. If the loop over it is left early, so are the calls: at once with `contextlib.aclosing`, else when the
    generator is collected. Cancelling the loop cancels all. ValueError for a `limit` below 1.
    """
    _check_limit(limit)
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
        async for result in receive:
            yield result
        await worker
    finally:
        # The channel is still open: a call that has a result now is cancelled like the others, instead of failing.
        if not worker.done():
            worker.cancel("nobody takes the results any more")
            await _wait_for_end(worker)
        receive.close()
        if not worker.cancelled():
            worker.exception()
        del worker


async def _wait_for_end(worker: asyncio.Task[None]) -> None:
    """Also if the caller is cancelled, by whomever: that is raised when the worker has ended."""
    if not worker.done():
        with CancelScope(shield=True):
            await _until(worker.done, lambda: asyncio.wait([worker]))

