"""`gather`, `map_unordered`, `race`, `retry`, `background`: what they return and raise; nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import segue


async def value_after(steps: int, value: Any) -> Any:
    for _ in range(steps):
        await segue.checkpoint()
    return value


async def fail_after(steps: int, exc: BaseException) -> None:
    for _ in range(steps):
        await segue.checkpoint()
    raise exc


class Witness:
    """A coroutine function that notes how its calls end."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0
        self.most = 0
        self.cancelled = 0

    async def __call__(self, steps: float, value: Any = None) -> Any:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if steps == float("inf"):
                await segue.sleep_forever()
            return await value_after(int(steps), value)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def only_this_task() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


def reports() -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    return seen


# ---------------------------------------------------------------------------------------------- gather


async def test_gather_returns_results_in_the_order_given() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "future")
    task = asyncio.create_task(value_after(3, "task"))
    assert await segue.gather(value_after(5, "slow"), value_after(0, "quick"), future, task) == [
        "slow", "quick", "future", "task",
    ]  # fmt: skip
    assert await segue.gather() == []
    assert only_this_task()


@pytest.mark.parametrize("limit", [None, 2])
async def test_gather_cancels_the_others_when_one_fails(limit: int | None) -> None:
    witness = Witness()
    with pytest.raises(KeyError, match="broken"):
        await segue.gather(witness(float("inf")), fail_after(2, KeyError("broken")), witness(9), limit=limit)
    assert witness.running == 0 and witness.cancelled == witness.begun
    assert only_this_task()


async def test_gather_reports_what_fails_while_it_is_cancelled() -> None:
    seen = reports()

    async def bad_loser() -> None:
        try:
            await segue.sleep_forever()
        finally:
            raise ValueError("in the way out")

    with pytest.raises(KeyError):
        await segue.gather(bad_loser(), fail_after(1, KeyError("first")))
    assert [repr(context["exception"]) for context in seen] == ["ValueError('in the way out')"]
    assert "KeyError('first') is what was raised" in seen[0]["message"]


async def test_gather_with_return_exceptions_cancels_nothing() -> None:
    error = KeyError("kept")
    assert await segue.gather(value_after(3, 1), fail_after(0, error), value_after(1, 2), return_exceptions=True) == [
        1, error, 2,
    ]  # fmt: skip
    assert await segue.gather(fail_after(0, error), limit=1, return_exceptions=True) == [error]


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
async def test_gather_runs_no_more_than_the_limit(limit: int) -> None:
    witness = Witness()
    assert await segue.gather(*(witness(3, n) for n in range(20)), limit=limit) == list(range(20))
    assert witness.most == min(limit, 20)


async def test_a_cancelled_gather_leaves_nothing() -> None:
    witness = Witness()
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await segue.gather(witness(float("inf")), witness(float("inf")))
    assert scope.cancelled_caught and witness.cancelled == 2
    task = asyncio.create_task(segue.gather(witness(float("inf")), witness(float("inf")), limit=1))
    await value_after(3, None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert witness.running == 0 and only_this_task()


async def test_gather_refuses_what_it_cannot_run_and_closes_the_rest() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="an awaitable was expected, got 3"):
            await segue.gather(value_after(0, 1), 3)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
            await segue.gather(value_after(0, 1), limit=0)
        with pytest.raises(KeyError):
            await segue.gather(fail_after(0, KeyError()), value_after(0, 1), value_after(0, 1), limit=1)
        gc.collect()


# ---------------------------------------------------------------------------------------------- race


async def test_race_returns_the_first_and_cancels_the_others() -> None:
    witness = Witness()
    assert await segue.race(witness(float("inf")), value_after(2, "won"), witness(50)) == "won"
    assert witness.cancelled == 2 and only_this_task()


async def test_race_raises_if_the_first_to_end_fails() -> None:
    witness = Witness()
    with pytest.raises(KeyError, match="lost it"):
        await segue.race(witness(float("inf")), fail_after(1, KeyError("lost it")), witness(9))
    assert witness.running == 0
    with pytest.raises(ValueError, match="at least one"):
        await segue.race()


async def test_race_reports_losers_that_fail() -> None:
    seen = reports()

    async def bad_loser() -> None:
        try:
            await segue.sleep_forever()
        finally:
            raise ValueError("sore")

    assert await segue.race(bad_loser(), value_after(1, "won")) == "won"
    assert [repr(context["exception"]) for context in seen] == ["ValueError('sore')"]


# ---------------------------------------------------------------------------------------------- map_unordered


@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_map_unordered_yields_every_result(limit: int | None) -> None:
    witness = Witness()
    results = [r async for r in segue.map_unordered(lambda n: witness(n % 4, n * n), range(20), limit=limit)]
    assert sorted(results) == sorted(n * n for n in range(20))
    assert limit is None or witness.most <= limit
    assert only_this_task()


async def test_map_unordered_takes_items_only_when_there_is_room() -> None:
    taken: list[int] = []

    async def items() -> AsyncIterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    async with contextlib.aclosing(segue.map_unordered(lambda n: value_after(0, n), items(), limit=2)) as results:
        async for _ in results:
            break
    assert len(taken) <= 4
    assert only_this_task()


async def test_map_unordered_raises_what_a_call_raises() -> None:
    witness = Witness()

    async def call(n: int) -> Any:
        if n == 2:
            raise KeyError("two")
        return await witness(float("inf") if n else 0, n)

    got = []
    with pytest.raises(KeyError, match="two"):
        async for result in segue.map_unordered(call, range(5)):
            got.append(result)
    assert got in ([], [0]) and witness.running == 0 and only_this_task()


async def test_map_unordered_is_cancelled_with_its_reader() -> None:
    witness = Witness()
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_later(0.01, scope.cancel)
        async for _ in segue.map_unordered(witness, [float("inf")] * 3):
            raise AssertionError("nothing ends")
    assert scope.cancelled_caught and witness.cancelled == 3 and only_this_task()


# ---------------------------------------------------------------------------------------------- retry


def failing(times: int, exc: Callable[[], Exception]) -> tuple[Callable[..., Awaitable[str]], list[tuple[Any, ...]]]:
    calls: list[tuple[Any, ...]] = []

    async def function(*args: Any) -> str:
        calls.append(args)
        if len(calls) <= times:
            raise exc()
        return "done"

    return function, calls


async def test_retry_returns_the_first_success() -> None:
    function, calls = failing(2, OSError)
    assert await segue.retry(function, 1, "two", delay=0.001) == "done"
    assert calls == [(1, "two")] * 3


async def test_retry_gives_up_and_says_how_often_it_tried() -> None:
    function, calls = failing(9, OSError)
    with pytest.raises(OSError) as info:
        await segue.retry(function, attempts=4, delay=0)
    assert len(calls) == 4
    assert info.value.__notes__ == ["segue.retry: this was attempt 4 of 4"]


async def test_retry_tries_again_only_what_it_is_told_to() -> None:
    for on in (OSError, (OSError, KeyError), lambda exc: isinstance(exc, OSError)):
        function, calls = failing(9, ValueError)
        with pytest.raises(ValueError) as info:
            await segue.retry(function, on=on, delay=0)
        assert len(calls) == 1 and not hasattr(info.value, "__notes__")
    function, calls = failing(1, ConnectionResetError)
    assert await segue.retry(function, on=OSError, delay=0) == "done"


async def test_retry_passes_a_cancellation_on_at_once() -> None:
    calls = 0

    async def function() -> None:
        nonlocal calls
        calls += 1
        await segue.sleep_forever()

    with segue.move_on_after(0.01) as scope:
        await segue.retry(function, delay=0)
    assert scope.cancelled_caught and calls == 1


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"delay": -1}, {"factor": float("nan")}, {"max_delay": -0.1}])
async def test_retry_refuses_numbers_that_make_no_sense(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        await segue.retry(value_after, 0, 1, **wrong)


# ---------------------------------------------------------------------------------------------- background


async def test_a_background_task_is_kept_until_it_ends() -> None:
    done = asyncio.Event()

    async def work() -> None:
        for _ in range(5):
            gc.collect()
            await segue.checkpoint()
        done.set()

    segue.background(work())
    await done.wait()
    await segue.checkpoint()
    assert only_this_task()


async def test_a_background_tasks_failure_is_reported_with_where_it_was_started() -> None:
    seen = reports()
    task = segue.background(fail_after(1, KeyError("behind the scenes")), name="worker")
    await asyncio.wait([task])
    await segue.checkpoint()
    assert [repr(context["exception"]) for context in seen] == ["KeyError('behind the scenes')"]
    message = seen[0]["message"]
    assert "'worker'" in message and __file__ in message
    assert "test_a_background_tasks_failure_is_reported_with_where_it_was_started" in message


def test_background_tasks_are_waited_for_at_the_end() -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        segue.background(more())
        ended.append("first")

    async def more() -> None:
        await asyncio.sleep(0.01)
        ended.append("second")

    async def main() -> None:
        segue.background(work())

    segue.run(main())
    assert ended == ["first", "second"]


def test_a_background_task_that_does_not_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue._background._DRAIN_SECONDS", 0.05)
    witness = Witness()

    async def main() -> None:
        segue.background(witness(float("inf")))

    segue.run(main())
    assert witness.cancelled == 1


async def test_background_is_outside_of_all_scopes() -> None:
    with segue.CancelScope() as scope:
        task = segue.background(value_after(3, "untouched"))
        scope.cancel()
    assert await task == "untouched"


def test_background_needs_a_running_loop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="no running event loop"):
            segue.background(value_after(0, 1))
        with pytest.raises(TypeError, match="a coroutine was expected"):
            segue.background(3)  # type: ignore[arg-type]
        gc.collect()


# ---- what comes out, and what stays --------------------------------------------------------------------------------


class Failed(Exception):
    """Can be weakly referenced, and says nothing of itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def fail_for_a_reason() -> None:
    try:
        raise KeyError("why")
    except KeyError as exc:
        raise ValueError("what") from exc


Pattern = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def gathered(function: Callable[[], Awaitable[Any]]) -> Any:
    await segue.gather(function(), segue.sleep_forever())


async def gathered_with_limit(function: Callable[[], Awaitable[Any]]) -> Any:
    await segue.gather(function(), segue.sleep_forever(), limit=2)


async def raced(function: Callable[[], Awaitable[Any]]) -> Any:
    await segue.race(function(), segue.sleep_forever())


async def mapped(function: Callable[[], Awaitable[Any]]) -> Any:
    async for _ in segue.map_unordered(lambda one: one(), [function]):
        pass


PATTERNS = pytest.mark.parametrize("pattern", [gathered, gathered_with_limit, raced, mapped])


@PATTERNS
async def test_an_exception_comes_out_as_its_task_has_raised_it(pattern: Pattern) -> None:
    with pytest.raises(ValueError, match="what") as raised:
        await pattern(fail_for_a_reason)
    assert isinstance(raised.value.__cause__, KeyError)
    assert raised.value.__context__ is raised.value.__cause__


@PATTERNS
async def test_one_that_is_cancelled_by_itself_has_failed(pattern: Pattern) -> None:
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by itself")
        await segue.sleep_forever()

    with pytest.raises(asyncio.CancelledError, match="by itself"):
        await pattern(cancels_itself)
    assert only_this_task()
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


# Not for map_unordered: its worker is a task that keeps its exception, whose traceback leads back to the task.
@pytest.mark.parametrize("pattern", [gathered, gathered_with_limit, raced])
async def test_a_failure_is_freed_without_the_collector(pattern: Pattern) -> None:
    refs: list[weakref.ref[Any]] = []

    async def fails() -> None:
        await segue.checkpoint()
        exc = Failed()
        refs.append(weakref.ref(exc))
        try:
            raise exc
        finally:
            del exc

    async def fails_and_is_forgotten() -> None:
        with contextlib.suppress(Failed):
            await pattern(fails)

    gc.collect()
    gc.disable()
    try:
        await fails_and_is_forgotten()
        assert [ref() for ref in refs] == [None]
    finally:
        gc.enable()


async def test_gather_runs_what_is_given_twice_once() -> None:
    runs = Witness()
    one, other = runs(1, "one"), runs(0, "other")
    assert await segue.gather(one, other, one) == ["one", "other", "one"]
    assert runs.begun == 2
    one = runs(1, "one")
    assert await segue.gather(one, one, limit=1) == ["one", "one"]
    one = runs(1, "one")
    assert await segue.race(one, one) == "one"


async def test_gather_with_exceptions_takes_a_cancelled_future_for_one() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    cancelled, value = await segue.gather(future, value_after(2, 1), return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError) and value == 1


@pytest.mark.parametrize("limit", ["1", 1.5, float("nan")])
async def test_a_limit_has_to_be_an_int(limit: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="limit must be an int or None"):
            await segue.gather(value_after(0, 1), limit=limit)
        with pytest.raises(TypeError, match="limit must be an int or None"):
            await anext(segue.map_unordered(segue.sleep, [0], limit=limit))
        gc.collect()


def test_on_another_loop_nothing_is_left_that_was_never_awaited() -> None:
    async def main() -> None:
        for call in (segue.gather, segue.race):
            with pytest.raises(RuntimeError, match="needs a running Segue event loop"):
                await call(value_after(0, 1), value_after(0, 2))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


async def test_map_unordered_waits_for_its_calls_however_often_it_is_cancelled() -> None:
    ended = []

    async def tidies_up(number: int) -> None:
        try:
            await segue.sleep_forever()
        finally:
            with segue.CancelScope(shield=True):
                await value_after(10, None)
            ended.append(number)

    async def consume() -> None:
        async for _ in segue.map_unordered(tidies_up, [1, 2]):
            pass

    task = asyncio.create_task(consume())
    for _ in range(3):
        await value_after(3, None)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2] and only_this_task()


@pytest.mark.parametrize("options", [{"factor": float("inf"), "delay": 0}, {"delay": float("inf")}])
async def test_retry_wants_finite_numbers(options: dict[str, float]) -> None:
    runs = Witness()
    with pytest.raises(ValueError, match="must be a finite number"):
        await segue.retry(runs, 0, **options)  # type: ignore[arg-type]
    assert runs.begun == 0
