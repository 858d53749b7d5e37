"""Which line is the program's own: the same whether frames are read or Python's API is asked, with one number each."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import segue
from segue._core import _Places
from test_suspended_frames import KINDS, Make, coroutine, nested, pause


def line_of(function: Callable[..., Any], offset: int, name: str | None = None) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset} {name or code.co_qualname}"


@pytest.fixture(params=["frames are read", "Python's API is asked"])
def places(request: pytest.FixtureRequest) -> _Places:
    return _Places(through_api=request.param != "frames are read")


def test_the_caller_in_the_program(places: _Places) -> None:
    def starts() -> list[int]:
        return list(map(places.caller, [True, False, True, False]))

    numbers = starts()
    assert set(numbers) == {numbers[0]} != {0}
    assert places.words(numbers[0]) == line_of(starts, 1)
    other = places.caller(True)
    assert other not in {0, numbers[0]}


def test_the_caller_behind_a_library(places: _Places) -> None:
    in_library: Any = functools.singledispatch(places.caller)  # the standard library's code calls it

    def starts() -> int:
        return in_library(True)  # type: ignore[no-any-return]

    assert places.words(starts()) == line_of(starts, 1)


def test_the_library_where_it_is_alone(places: _Places) -> None:
    with ThreadPoolExecutor() as pool:
        assert "/concurrent/futures/thread.py:" in places.words(pool.submit(places.caller, True).result())


def test_no_caller_beyond_what_runs_the_loop(places: _Places) -> None:
    """A callback's caller is the loop: the program's line that runs the loop has started nothing."""
    seen: list[int] = []
    loop = segue.EventLoop()
    try:
        loop.call_soon(functools.partial(call_and_keep, places, seen))
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert places.words(seen[0]) == line_of(call_and_keep, 1)


def call_and_keep(places: _Places, seen: list[int]) -> None:
    seen.append(places.caller(True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_where_a_coroutine_waits(places: _Places, kind: Callable[[Make], Awaitable[Any]]) -> None:
    chain = nested([kind])
    chain.send(None)
    numbers = {places.waits_at(chain) for _ in range(3)}
    assert len(numbers) == 1
    assert places.words(numbers.pop()) == line_of(pause.__wrapped__ if hasattr(pause, "__wrapped__") else pause, 2)
    with pytest.raises(StopIteration):
        chain.send(None)
    assert places.waits_at(chain) == 0


def test_the_programs_line_above_a_library(places: _Places) -> None:
    async def waits() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.sleep, 60)
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        assert places.words(places.waits_at(task.get_coro())) == line_of(waits, 1)
        task.cancel()
        only_library = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        assert places.words(places.waits_at(only_library.get_coro())).endswith(" sleep")
        only_library.cancel()

    segue.run(main())


def test_what_is_no_coroutine_waits_nowhere(places: _Places) -> None:
    assert [places.waits_at(o) for o in (None, 1, object(), print)] == [0] * 4
    assert places.words(0) == ""


def test_more_code_than_is_remembered(places: _Places) -> None:
    """Code that came and went: what was remembered of it is not taken for what is there now."""
    gone = 0

    def forget() -> None:
        nonlocal gone
        gone += 1

    for i in range(25_000):
        scope: dict[str, Any] = {"ask": places.caller}
        exec(compile(f"def f{i}():\n return ask(True)", f"file{i}.py", "exec"), scope)
        function = scope[f"f{i}"]
        weakref.finalize(function.__code__, forget)
        assert places.words(function()) == f"file{i}.py:2 f{i}"
    del scope, function
    assert gone > 10_000


def test_where_chains_of_all_kinds_wait_is_the_same_in_both_ways() -> None:
    read, asked = _Places(), _Places(through_api=True)
    for first in KINDS:
        for second in KINDS:
            chain = nested([first, second, coroutine])
            chain.send(None)
            assert read.words(read.waits_at(chain)) == asked.words(asked.waits_at(chain)) != ""
            with pytest.raises(StopIteration):
                chain.send(None)
