"""Scopes and nurseries that aren't left in the reverse order of entering, or not by who entered; deadlines that passed.

The messages are in test_provenance.py. Semantics: Trio's tests `test_*misnest*`.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import pytest
import segue
from segue import Cancelled, CancelScope, open_nursery, sleep_forever
from segue.lowlevel import checkpoint, wait_task_rescheduled
from segue.testing import wait_all_tasks_blocked


async def cancelled_as_misnested() -> None:
    with pytest.raises(Cancelled, match="misnesting"):
        await sleep_forever()


async def the_same_in_a_scope() -> None:
    with CancelScope():
        await cancelled_as_misnested()


async def test_leaving_an_outer_scope_cancels_the_tasks_of_inner_nurseries() -> None:
    with ExitStack() as stack:
        stack.enter_context(CancelScope())
        async with open_nursery() as nursery:
            nursery.start_soon(cancelled_as_misnested)
            nursery.start_soon(the_same_in_a_scope)
            await wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="still within its child"):
                stack.close()


async def test_leaving_a_nurserys_scope_by_hand_cancels_its_tasks() -> None:
    block = open_nursery()
    nursery = await block.__aenter__()
    nursery.start_soon(cancelled_as_misnested)
    nursery.start_soon(the_same_in_a_scope)
    nursery.start_soon(sleep_forever)
    await wait_all_tasks_blocked()
    nursery.cancel_scope.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="which had already been exited") as info:
        await block.__aexit__(None, None, None)
    assert isinstance(info.value.__context__, Cancelled), "what the third task raised"


@asynccontextmanager
async def with_a_nursery_inside(*functions: object) -> AsyncIterator[segue.Nursery]:
    async with open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)  # type: ignore[arg-type]
        yield nursery


async def test_a_nursery_that_outlives_the_task_that_opened_it_is_reported_once() -> None:
    record: list[str] = []

    async def cleans_up() -> None:
        try:
            await checkpoint()
        finally:
            record.append("cleaned up")

    with pytest.raises(ExceptionGroup) as info:
        async with AsyncExitStack() as stack, open_nursery() as nursery:
            manager = with_a_nursery_inside(sleep_forever, cleans_up)
            nursery.start_soon(stack.enter_async_context, manager, name="the opener")
    (inner,) = info.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    (error,) = inner.exceptions
    assert isinstance(error, RuntimeError)
    for exc in (info.value, inner, error):
        assert exc.__cause__ is exc.__context__ is None
    text = str(error)
    assert "Nursery stack corrupted" in text and "the opener" in text
    assert f"{__file__}:{with_a_nursery_inside.__wrapped__.__code__.co_firstlineno + 2} " in text  # type: ignore[attr-defined]
    await wait_all_tasks_blocked()
    assert record == ["cleaned up"] and len(asyncio.all_tasks()) == 1


async def test_an_abandoned_nursery_takes_no_tasks_and_its_failures_are_logged() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(repr(context.get("exception"))))
    nurseries: list[segue.Nursery] = []

    async def fails() -> None:
        try:
            await sleep_forever()
        finally:
            raise KeyError("lost")

    async def opener() -> None:
        nurseries.append(await open_nursery().__aenter__())
        nurseries[0].start_soon(fails)
        await checkpoint()

    with pytest.raises(ExceptionGroup):
        async with open_nursery() as nursery:
            nursery.start_soon(opener)
    await wait_all_tasks_blocked()
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        nurseries[0].start_soon(checkpoint)
    assert told == ["KeyError('lost')"]


async def test_a_deadline_that_has_passed_cancels_at_the_entry() -> None:
    for scope in (segue.move_on_after(0), segue.move_on_at(segue.current_time() - 1)):
        with scope:
            assert scope.cancellation is not None
            await checkpoint()
        assert scope.cancelled_caught


async def test_who_is_current_when_an_abort_function_is_asked() -> None:
    """The task that cancels; nobody if the loop notices that a deadline has passed."""
    asked: list[object] = []

    def abort(_: object) -> segue.lowlevel.Abort:
        asked.append(asyncio.current_task())
        return segue.lowlevel.Abort.SUCCEEDED

    async with open_nursery() as nursery:
        nursery.start_soon(wait_task_rescheduled, abort)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with open_nursery() as nursery:
        nursery.start_soon(wait_task_rescheduled, abort)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = segue.current_time()
    assert asked == [asyncio.current_task(), None]


@pytest.mark.filterwarnings("ignore:strict_exception_groups=False")
async def test_a_nursery_that_is_not_strict_inside_a_cancelled_one() -> None:
    """What the outer scope catches out of the inner nursery's group may leave a single exception in it."""

    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(ExceptionGroup) as info:
        async with open_nursery() as outer:
            outer.start_soon(fails)
            async with open_nursery(strict_exception_groups=False) as inner:
                inner.start_soon(sleep_forever)
                inner.start_soon(fails)
                outer.cancel_scope.cancel()
    assert [type(exc) for exc in info.value.exceptions] == [KeyError, KeyError]

    with pytest.raises(ExceptionGroup) as info, CancelScope() as scope:
        scope.cancel()
        async with open_nursery() as outer:
            async with open_nursery(strict_exception_groups=False) as inner:
                inner.start_soon(sleep_forever)
                inner.start_soon(fails)
                inner.start_soon(fails)
    (both,) = info.value.exceptions
    assert isinstance(both, ExceptionGroup) and len(both.exceptions) == 2, "two are still a group"


async def test_the_frames_of_a_task() -> None:
    async def generator() -> AsyncIterator[None]:
        await sleep_forever()
        yield

    async def child() -> None:
        async for _ in generator():
            pass

    async with open_nursery() as nursery:
        nursery.start_soon(child)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        frames = list(task.iter_await_frames())
        assert [frame.f_code.co_name for frame, _ in frames[:2]] == ["child", "generator"]
        assert "await sleep_forever()" in "".join(traceback.StackSummary.extract(frames).format())
        nursery.cancel_scope.cancel()
    assert list(task.iter_await_frames()) == []
