"""Where a coroutine waits, as the recorder reads it: the same as Python's API tells, whatever it awaits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest
import segue
import uvloop
from frames import Frames, check_suspended, names
from hypothesis import given, settings
from hypothesis import strategies as st


@types.coroutine
def pause() -> Generator[None]:
    yield


class Shown:
    """A coroutine that isn't the interpreter's, such as Cython's: attributes in C tell its frame and what it awaits."""

    __slots__ = ("cr_await", "cr_frame", "inside")

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __await__(self) -> Shown:
        return self

    def __iter__(self) -> Shown:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        result = self.inside.send(value)
        self.cr_frame, self.cr_await = self.inside.cr_frame, self.inside.cr_await
        return result

    def throw(self, *args: Any) -> Any:
        return self.inside.throw(*args)

    def close(self) -> None:
        self.inside.close()


class Told:
    """Says by code in Python what it awaits: that is not asked."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")

    @property
    def cr_frame(self) -> Any:
        raise AssertionError("asked for a frame")

    def __await__(self) -> Any:
        return self.inside.__await__()


# Each makes of something to await something else that awaits it.
Make = Callable[[], Awaitable[Any]]


def coroutine(make: Make) -> Awaitable[Any]:
    async def in_coroutine() -> None:
        await make()

    return in_coroutine()


def generator_based(make: Make) -> Awaitable[Any]:
    @types.coroutine
    def in_generator_based() -> Generator[Any, Any, None]:
        yield from coroutine(make)  # type: ignore[misc]

    return in_generator_based()


def async_for(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        await make()
        yield

    async def in_async_for() -> None:
        async for _ in in_async_generator():
            pass

    return in_async_for()


def async_comprehension(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        await make()
        yield

    async def in_comprehension() -> list[None]:
        return [one async for one in in_async_generator()]

    return in_comprehension()


def asend(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        await make()
        yield

    kept: Any = in_async_generator()
    return kept.asend(None)  # type: ignore[no-any-return]


def athrow(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            await make()
            yield

    async def in_athrow() -> None:
        generator: Any = in_async_generator()
        await anext(generator)
        await generator.athrow(ValueError)

    return in_athrow()


def aclose(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await make()

    async def in_aclose() -> None:
        generator: Any = in_async_generator()
        await anext(generator)
        await generator.aclose()

    return in_aclose()


def anext_or_default(make: Make) -> Awaitable[Any]:
    async def in_async_generator() -> AsyncIterator[None]:
        await make()
        yield

    async def in_anext() -> None:
        await anext(in_async_generator(), None)

    return in_anext()


def wrapped(make: Make) -> Awaitable[Any]:
    class Wrapped:
        def __await__(self) -> Any:
            return coroutine(make).__await__()

    return Wrapped()


def own_await(make: Make) -> Awaitable[Any]:
    class Own:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from coroutine(make).__await__()

    return Own()


def async_with(make: Make) -> Awaitable[Any]:
    @contextlib.asynccontextmanager
    async def in_context() -> AsyncIterator[None]:
        await make()
        yield

    async def in_async_with() -> None:
        async with in_context():
            pass

    return in_async_with()


def in_finally(make: Make) -> Awaitable[Any]:
    async def in_finally() -> None:
        try:
            raise ValueError
        except ValueError:
            try:
                pass
            finally:
                await make()

    return in_finally()


def shown(make: Make) -> Awaitable[Any]:
    return Shown(coroutine(make))


def told(make: Make) -> Awaitable[Any]:
    return Told(coroutine(make))


KINDS = [
    coroutine,
    generator_based,
    async_for,
    async_comprehension,
    asend,
    athrow,
    aclose,
    anext_or_default,
    wrapped,
    own_await,
    async_with,
    in_finally,
    shown,
    told,
]


def nested(kinds: list[Callable[[Make], Awaitable[Any]]]) -> Any:
    make: Make = pause
    for kind in reversed(kinds):
        make = functools.partial(kind, make)
    return coroutine(make)


def started(kinds: list[Callable[[Make], Awaitable[Any]]]) -> Any:
    chain = nested(kinds)
    chain.send(None)
    return chain


def finish(chain: Any) -> None:
    with pytest.raises(StopIteration):
        chain.send(None)
    assert check_suspended(chain) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_through(kind: Callable[[Make], Awaitable[Any]]) -> None:
    chain = started([kind])
    found = names(check_suspended(chain))
    assert found[0] == "in_coroutine"
    assert found[-1] == "pause"
    finish(chain)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(KINDS), max_size=8))
def test_through_any_chain(kinds: list[Callable[[Make], Awaitable[Any]]]) -> None:
    chain = started(kinds)
    found = names(check_suspended(chain))
    assert (found[0], found[-1]) == ("in_coroutine", "pause")
    assert len(found) >= len(kinds) + 2
    finish(chain)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_in_instrumented_and_traced_code(kind: Callable[[Make], Awaitable[Any]]) -> None:
    """The chain is made and suspended in code that is traced, or that is first traced while it waits."""
    plain = check_suspended(started([kind]))
    before = sys.gettrace()

    def trace(*_: Any) -> Any:
        return trace

    waiting = started([kind])
    sys.settrace(trace)
    try:
        traced = started([kind])
        assert names(check_suspended(traced)) == names(plain)
        assert names(check_suspended(waiting)) == names(plain)
        finish(traced)
    finally:
        sys.settrace(before)
    assert check_suspended(waiting)[-1] == plain[-1]
    finish(waiting)


def test_before_the_beginning_after_the_end_and_while_it_runs() -> None:
    seen: list[Frames] = []

    async def looks_at_itself() -> None:
        await pause()
        seen.append(check_suspended(running))

    async def closed() -> None:
        pass

    running = looks_at_itself()
    assert names(check_suspended(running)) == ["looks_at_itself"]
    running.send(None)
    assert names(check_suspended(running)) == ["looks_at_itself", "pause"]
    with pytest.raises(StopIteration):
        running.send(None)
    assert [names(frames) for frames in seen] == [["looks_at_itself"]]
    assert check_suspended(running) == []
    never = closed()
    never.close()
    assert check_suspended(never) == []


def test_what_is_no_coroutine_has_no_frames() -> None:
    for o in (None, 1, object(), [], len, check_suspended, asyncio.sleep):
        if o is not None:
            assert check_suspended(o) == []

    async def generates() -> AsyncIterator[int]:
        yield 1

    generator = (i for i in range(3))
    next(generator)
    assert names(check_suspended(generator)) == ["<genexpr>"]
    assert names(check_suspended(generates())) == ["generates"]


def test_of_tasks() -> None:
    async def waits_for_future(future: asyncio.Future[None]) -> None:
        await future

    async def waits_for_task(task: asyncio.Task[None]) -> None:
        async with asyncio.timeout(60):
            await asyncio.shield(task)

    async def main() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(waits_for_future(future))
        second = asyncio.create_task(waits_for_task(first))
        third = asyncio.create_task(segue.sleep(60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert names(check_suspended(first.get_coro())) == ["waits_for_future"]
        assert names(check_suspended(second.get_coro())) == ["waits_for_task"]
        assert "sleep" in names(check_suspended(third.get_coro()))[0]
        third.cancel()
        future.set_result(None)
        await asyncio.wait([first, second, third])

    segue.run(main())


def test_of_coroutines_in_cython() -> None:
    """uvloop's are Cython's: they have a frame only to show, and say what they await."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def resolves() -> None:
            with contextlib.suppress(OSError):
                await loop.getaddrinfo("localhost", 80)

        task = asyncio.create_task(resolves())
        await asyncio.sleep(0)
        found = names(check_suspended(task.get_coro()))
        assert found[0] == "resolves"
        assert len(found) > 1
        await task

    uvloop.run(main())


def test_nothing_is_kept_nor_lost() -> None:
    chain = started(list(KINDS))
    frames = check_suspended(chain)
    objects = [chain, chain.cr_await, *(code for code, _, _ in frames)]
    if sys.version_info >= (3, 12):
        objects.append(None)  # before, it isn't immortal, and everybody counts it

    def counts() -> list[int]:
        gc.collect()  # other tests' frames have the same code
        return [sys.getrefcount(o) for o in objects]

    rounds = 1_000
    before = counts()
    for _ in range(rounds):
        assert len(check_suspended(chain)) == len(frames)
    # Before 3.12 None is counted too, and anybody has it.
    assert all(abs(now - then) < rounds / 10 for now, then in zip(counts(), before, strict=True))
    objects.clear()
    finish(chain)
