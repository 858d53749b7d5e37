"""Every Cancelled and TooSlowError says who cancelled, why and where; an exit in the wrong order names everything."""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import os
import pickle
import signal
import threading
import weakref
from typing import Any

import pytest
import segue
import segue.trio
from stepping import turns


class Victim:
    """Waits, and keeps the cancellation that it gets."""

    def __init__(self) -> None:
        self.error: Any = None

    async def __call__(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as exc:
            self.error = exc
            raise

    @property
    def info(self) -> Any:
        return self.error.cancellation


def line(info: Any) -> str:
    """The line of this file that a cancellation names."""
    assert os.path.samefile(info.filename, __file__)
    return linecache.getline(__file__, info.lineno).strip()


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


# ---- deadlines -------------------------------------------------------------------------------------------------------


async def test_a_deadline_says_where_its_scope_was_entered() -> None:
    victim = Victim()
    with segue.move_on_after(0.001) as scope:
        await victim()
    assert victim.info.source == "deadline" and victim.info.scoped
    assert line(victim.info) == "with segue.move_on_after(0.001) as scope:"
    assert victim.info.task is asyncio.current_task()
    assert str(scope.cancellation) == str(victim.error)
    assert str(victim.error).startswith("cancelled by deadline, task ")
    assert f"{__file__}:{victim.info.lineno} test_a_deadline_says" in str(victim.error)


async def test_a_deadline_set_later_says_where_it_was_set() -> None:
    victim = Victim()
    with segue.CancelScope():
        with segue.CancelScope() as scope:
            scope.deadline = segue.current_time() + 0.001
            await victim()
    assert victim.info.source == "deadline"
    assert line(victim.info) == "scope.deadline = segue.current_time() + 0.001"


@pytest.mark.parametrize("function", ["fail_after", "fail_at"])
async def test_too_slow_says_which_deadline(function: str) -> None:
    seconds = 0.001 + (segue.current_time() if function == "fail_at" else 0)
    with pytest.raises(segue.TooSlowError) as info:
        with getattr(segue, function)(seconds):
            number = here() - 1
            await segue.sleep_forever()
    text = str(info.value)
    assert text.startswith("cancelled by deadline") and f"{__file__}:{number} " in text
    assert f"task {asyncio.current_task().get_name()!r}" in text  # type: ignore[union-attr]


async def test_too_slow_because_of_a_cancel_says_that() -> None:
    with pytest.raises(segue.TooSlowError, match=r"cancelled by scope.cancel \(enough\)"):
        with segue.fail_after(10) as scope:
            scope.cancel("enough")
            await segue.sleep_forever()


async def test_too_slow_out_of_asyncio_code_inside() -> None:
    with pytest.raises(segue.TooSlowError, match="cancelled by deadline") as info:
        with segue.fail_after(0.001):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
    assert __file__ in str(info.value)


# ---- cancel ----------------------------------------------------------------------------------------------------------


async def test_cancel_says_who_called_it_where_and_why() -> None:
    victim = Victim()

    async def canceller(scope: segue.CancelScope) -> None:
        scope.cancel("a reason")

    async with segue.open_nursery() as nursery:
        nursery.start_soon(victim)
        await turns()
        nursery.start_soon(canceller, nursery.cancel_scope, name="the canceller")
    info = victim.info
    assert (info.source, info.reason, info.task_name, info.scoped) == (
        "scope.cancel",
        "a reason",
        "the canceller",
        True,
    )
    assert line(info) == 'scope.cancel("a reason")'
    assert str(victim.error).startswith("cancelled by scope.cancel (a reason), task 'the canceller', ")


async def test_cancel_by_a_callback_has_no_task() -> None:
    victim = Victim()
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(lambda: scope.cancel())
        await victim()
    assert victim.info.task is None and victim.info.task_name is None
    assert line(victim.info) == "asyncio.get_running_loop().call_soon(lambda: scope.cancel())"


async def test_cancel_before_the_entry_says_where_too() -> None:
    victim = Victim()
    scope = segue.CancelScope()
    scope.cancel("too early")
    with scope:
        await victim()
    assert victim.info.reason == "too early" and line(victim.info) == 'scope.cancel("too early")'


async def test_cancel_before_the_entry_says_which_task() -> None:
    victim = Victim()
    scope = segue.CancelScope()
    scope.cancel()
    with scope:
        await victim()
    assert victim.info.task is asyncio.current_task()


async def test_the_first_cancel_counts() -> None:
    victim = Victim()
    with segue.move_on_after(0.001) as scope:
        scope.cancel("first")
        scope.cancel("second")
        scope.deadline = -1
        await victim()
    assert victim.info.reason == "first"


async def test_what_asyncios_libraries_see_says_it_too() -> None:
    seen: list[Any] = []

    async def library() -> None:
        for wait in (lambda: asyncio.Event().wait(), lambda: asyncio.Queue[int]().get(), lambda: asyncio.sleep(10)):
            try:
                await wait()
            except asyncio.CancelledError as exc:
                seen.append(segue.cancellation(exc))
        await asyncio.wait_for(asyncio.sleep(10), 20)

    with segue.CancelScope() as scope:
        scope.cancel("by the program")
        await library()
    assert [info.reason for info in seen] == ["by the program"] * 3
    assert scope.cancelled_caught


async def test_each_suspension_says_the_scope_that_cancels_then() -> None:
    first, second = Victim(), Victim()
    with segue.CancelScope() as outer:
        with segue.CancelScope(shield=True) as inner:
            inner.cancel("the inner one")
            try:
                await first()
            finally:
                outer.cancel("the outer one")
                inner.shield = False
                await second()
    assert first.info.reason == "the inner one"
    assert second.info.reason in ("the inner one", "the outer one")
    assert outer.cancelled_caught and not inner.cancelled_caught


# ---- failures --------------------------------------------------------------------------------------------------------


async def test_a_siblings_failure_says_which_and_where() -> None:
    victim = Victim()

    async def fail() -> None:
        raise KeyError("the failure")

    with pytest.raises(ExceptionGroup):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(victim)
            nursery.start_soon(fail, name="the failing one")
    info = victim.info
    assert info.source == "nursery failure" and info.scoped and info.task_name == "the failing one"
    assert info.reason == "KeyError('the failure') failed"
    assert line(info) == 'raise KeyError("the failure")'


async def test_the_blocks_own_failure_too() -> None:
    victim = Victim()
    with pytest.raises(ExceptionGroup):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(victim)
            await turns()
            raise KeyError("in the block")
    assert victim.info.task is asyncio.current_task() and line(victim.info) == 'raise KeyError("in the block")'


async def test_a_failure_below_is_told_to_each_level() -> None:
    near, far = Victim(), Victim()

    async def inner() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(near)
            await turns()
            raise KeyError("deep")

    with pytest.raises(ExceptionGroup):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(far)
            nursery.start_soon(inner)
    assert "KeyError('deep')" in near.info.reason and "KeyError('deep')" in far.info.reason


async def test_an_asyncio_task_group_cancels_by_task_cancel() -> None:
    victim = Victim()

    async def fail() -> None:
        raise KeyError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(victim())
            await turns()
            group.create_task(fail())
    assert victim.info.source == "Task.cancel" and not victim.info.scoped


# ---- tasks, signals, the end -----------------------------------------------------------------------------------------


async def test_task_cancel_says_its_caller() -> None:
    victim = Victim()
    task = asyncio.create_task(victim())
    await turns()
    task.cancel("stop")
    await asyncio.wait([task])
    info = victim.info
    assert (info.source, info.reason, info.scoped) == ("Task.cancel", "stop", False)
    assert info.task is asyncio.current_task() and line(info) == 'task.cancel("stop")'
    assert victim.error.args == ("stop",)  # asyncio's own text stays


async def test_task_cancel_through_gather_and_timeout_says_a_place() -> None:
    victim = Victim()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await victim()
    assert victim.info.source == "Task.cancel" and victim.info.filename.endswith("timeouts.py")


async def test_a_native_cancel_in_a_cancelled_scope_says_task_cancel() -> None:
    victim = Victim()
    scope = segue.CancelScope()

    async def work() -> None:
        with scope:
            await victim()

    task = asyncio.create_task(work())
    await turns()
    scope.cancel()
    task.cancel("natively")
    await asyncio.wait([task])
    assert victim.info.source == "Task.cancel" and victim.info.reason == "natively"


def test_ctrl_c_says_signal() -> None:
    victim = Victim()

    async def main() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await victim()

    with pytest.raises(KeyboardInterrupt):
        segue.run(main())
    assert victim.info.source == "signal" and not victim.info.scoped


def test_ctrl_c_in_a_trio_run_says_signal() -> None:
    victim = Victim()

    async def main() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await victim()

    with pytest.raises(KeyboardInterrupt):
        segue.trio.run(main)
    assert victim.info.source == "signal"


def test_the_end_of_the_loop_says_so() -> None:
    victim = Victim()
    kept: list[Any] = []

    async def main() -> None:
        kept.append(asyncio.create_task(victim()))
        await turns()

    segue.run(main())
    assert victim.info.source == "loop shutdown" and not victim.info.scoped


# ---- wrong order -----------------------------------------------------------------------------------------------------


async def test_leaving_out_of_order_names_both_scopes_with_their_lines() -> None:
    outer, inner = segue.CancelScope(), segue.CancelScope()
    outer.__enter__()
    outer_line = here() - 1
    inner.__enter__()
    inner_line = here() - 1
    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted") as info:
        outer.__exit__(None, None, None)
    text = str(info.value)
    assert f"{__file__}:{outer_line} " in text and f"{__file__}:{inner_line} " in text
    task = asyncio.current_task()
    assert task is not None and task.get_name() in text


async def test_leaving_in_another_task_names_both_tasks_and_scopes() -> None:
    async def open_it() -> segue.CancelScope:
        scope = segue.CancelScope()
        scope.__enter__()
        await turns(10)
        return scope

    opener = asyncio.create_task(open_it(), name="the opener")
    await turns()
    scope: Any = next(o for o in gc.get_objects() if isinstance(o, segue.CancelScope) and "open_it" in repr(o))

    async def close_it() -> None:
        with segue.CancelScope():
            number.append(here() - 1)
            scope.__exit__(None, None, None)

    number: list[int] = []
    with pytest.raises(RuntimeError) as info:
        await asyncio.create_task(close_it(), name="the closer")
    text = str(info.value)
    assert "the opener" in text and "the closer" in text and "open_it" in text
    assert f"{__file__}:{number[0]} " in text, "the closer's own scope"
    await asyncio.wait([opener])


# ---- what it keeps, and how it travels -------------------------------------------------------------------------------


async def test_it_keeps_no_task_alive_and_still_knows_its_name() -> None:
    victim = Victim()

    async def canceller(scope: segue.CancelScope) -> None:
        scope.cancel()

    async with segue.open_nursery() as nursery:
        nursery.start_soon(victim)
        await turns()
        nursery.start_soon(canceller, nursery.cancel_scope, name="gone")
    del nursery
    await turns()
    gc.collect()
    assert victim.info.task is None and victim.info.task_name == "gone"


async def test_a_canceller_is_found_as_long_as_somebody_has_it() -> None:
    victim = Victim()

    async def canceller(scope: segue.CancelScope) -> None:
        scope.cancel()

    async with segue.open_nursery() as nursery:
        nursery.start_soon(victim)
        await turns(3)
        who: Any = asyncio.create_task(canceller(nursery.cancel_scope), name="who")
    assert victim.info.task is who
    await who
    assert victim.info.task is who, "done, and still there"
    asked: list[Any] = []
    watch = weakref.ref(who, lambda _: asked.append(victim.info.task))
    del who
    gc.collect()
    assert watch() is None and asked == [None] and victim.info.task is None
    assert victim.info.task_name == "who"


async def test_a_reason_that_leads_back_is_collected() -> None:
    class Reason:
        info: Any

    reason = Reason()
    with segue.CancelScope() as scope:
        scope.cancel(reason)
        await segue.lowlevel.checkpoint()
    reason.info = scope.cancellation
    gone = weakref.ref(reason)
    del reason, scope
    await turns()  # whoever has thrown the cancellation into this task lets go of it
    gc.collect()
    assert gone() is None


async def test_it_survives_pickling_as_its_text() -> None:
    victim = Victim()
    with segue.CancelScope() as scope:
        scope.cancel("far away")
        await victim()
    assert "far away" in str(pickle.loads(pickle.dumps(victim.error)))


async def test_an_exception_made_by_hand_says_nothing() -> None:
    assert segue.cancellation(asyncio.CancelledError()) is None


# ---- what can't be shown, and who has really asked -------------------------------------------------------------------


class Mute(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


async def test_a_failure_that_cannot_be_shown_cancels_the_others_all_the_same() -> None:
    async def fail() -> None:
        raise Mute

    victim = Victim()
    with pytest.raises(ExceptionGroup) as raised:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(victim)
            await turns(2)
            nursery.start_soon(fail)
    assert [type(exc) for exc in raised.value.exceptions] == [Mute]
    assert victim.info.source == "nursery failure" and victim.info.reason == "<Mute that can't be shown> failed"


async def test_a_block_that_fails_with_what_cannot_be_shown() -> None:
    victim = Victim()
    with pytest.raises(ExceptionGroup) as raised:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(victim)
            await turns(2)
            raise Mute
    assert [type(exc) for exc in raised.value.exceptions] == [Mute]
    assert victim.info.source == "nursery failure"


async def test_a_reason_that_cannot_be_shown() -> None:
    with pytest.raises(segue.TooSlowError, match="Mute that can't be shown"):
        with segue.fail_after(60) as scope:
            scope.cancel(reason=Mute())
            await segue.checkpoint()


async def test_tasks_of_a_cancelled_block_are_told_who_cancelled_it() -> None:
    victim = Victim()

    async def parent() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(victim)

    task = asyncio.create_task(parent(), name="parent")
    await turns(3)
    task.cancel("shutting down")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert victim.info.source == "nursery failure" and victim.info.task is asyncio.current_task()
    assert victim.info.reason == "task 'parent' was cancelled by Task.cancel (shutting down)"
    assert line(victim.info) == 'task.cancel("shutting down")'


async def test_a_scopes_cancellation_stays_that_scopes_in_the_nurseries_it_ends() -> None:
    """The child that leaves first has not cancelled its siblings."""
    late: list[Any] = []

    async def lingers() -> None:
        with segue.CancelScope(shield=True):
            await turns(5)
        try:
            await segue.checkpoint()
        except asyncio.CancelledError as exc:
            late.append(segue.cancellation(exc))
            raise

    with segue.CancelScope() as scope:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep_forever)
            nursery.start_soon(lingers)
            await turns(2)
            scope.cancel(reason="enough")
    assert [(info.source, info.reason) for info in late] == [("scope.cancel", "enough")]


async def test_what_the_loop_calls_is_at_no_line() -> None:
    victim = Victim()
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await victim()
    assert (victim.info.source, victim.info.filename, victim.info.lineno) == ("scope.cancel", None, None)
    assert str(victim.error) == "cancelled by scope.cancel"


async def test_a_request_that_had_to_wait_for_a_thread_says_who_made_it() -> None:
    release = threading.Event()
    victim = Victim()

    async def works() -> None:
        await segue.to_thread.run_sync(release.wait)
        await victim()

    task = asyncio.create_task(works())
    while segue.to_thread.active_thread_count() == 0:
        await segue.checkpoint()
    task.cancel("from outside")
    await turns(2)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert victim.info.task is asyncio.current_task() and task.cancelling() == 1
    assert line(victim.info) == 'task.cancel("from outside")'
