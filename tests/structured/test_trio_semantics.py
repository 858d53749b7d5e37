"""Trio's own cancellation tests, as far as they are about semantics we share, under the names they have
there.

Ported by hand from trio's `_core/_tests/test_run.py`. Where Trio waits until all tasks are blocked,
these wait some turns of the loop; where Trio jumps a mock clock, these move the deadline.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf, nan
from typing import Any

import pytest
import segue
from segue import TASK_STATUS_IGNORED, Cancelled, CancelScope, checkpoint, open_nursery, sleep, sleep_forever
from stepping import turns


@contextmanager
def raises_group(*expected: type[BaseException]) -> Iterator[Any]:
    with pytest.raises(BaseExceptionGroup) as info:
        yield info
    assert sorted(type(e).__name__ for e in info.value.exceptions) == sorted(e.__name__ for e in expected)


async def test_cancel_edge_cases() -> None:
    with CancelScope() as scope:
        scope.cancel()
        scope.cancel()
        await checkpoint()
    assert scope.cancel_called and scope.cancelled_caught
    with CancelScope() as scope:
        scope.cancel()
        with pytest.raises(Cancelled):
            await sleep_forever()
        with pytest.raises(Cancelled):
            await sleep_forever()


async def test_cancel_scope_exceptiongroup_filtering() -> None:
    async def crash() -> None:
        raise KeyError

    with raises_group(KeyError):
        with CancelScope() as outer:
            with raises_group(Cancelled, Cancelled, Cancelled, KeyError) as info:
                async with open_nursery() as nursery:
                    nursery.start_soon(sleep_forever)
                    nursery.start_soon(sleep_forever)
                    nursery.cancel_scope.cancel()
                    await turns()
                    nursery.start_soon(sleep_forever)
                    outer.cancel()
                    nursery.start_soon(crash)
            raise info.value
    assert outer.cancelled_caught


async def test_precancelled_task() -> None:
    record = []

    async def block() -> None:
        record.append("started")
        await sleep_forever()

    async with open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        nursery.start_soon(block)
    assert record == ["started"]


async def test_cancel_shielding() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            await checkpoint()
            outer.cancel()
            with pytest.raises(Cancelled):
                await checkpoint()
            assert inner.shield is False
            with pytest.raises(TypeError):
                inner.shield = "hello"  # type: ignore[assignment]
            assert inner.shield is False
            inner.shield = True
            await checkpoint()
            with CancelScope() as innermost:
                innermost.cancel()
                with pytest.raises(Cancelled):
                    await checkpoint()
            await checkpoint()
            inner.shield = False
            with pytest.raises(Cancelled):
                await checkpoint()
            inner.shield = True
            await checkpoint()
            inner.cancel()
            await checkpoint()
        assert inner.cancelled_caught


async def test_cancel_inheritance() -> None:
    record = set()

    async def leaf(name: str) -> None:
        try:
            await sleep_forever()
        except Cancelled:
            record.add(name)

    async def worker(name: str) -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(leaf, name + "-1")
            nursery.start_soon(leaf, name + "-2")

    async with open_nursery() as nursery:
        nursery.start_soon(worker, "a")
        nursery.start_soon(worker, "b")
        nursery.cancel_scope.cancel()
    assert record == {"a-1", "a-2", "b-1", "b-2"}


async def test_cancel_shield_abort() -> None:
    record = []

    async def sleeper() -> None:
        record.append("sleeping")
        try:
            await sleep_forever()
        except Cancelled:
            record.append("cancelled")

    with CancelScope() as outer:
        async with open_nursery() as nursery:
            outer.cancel()
            nursery.cancel_scope.shield = True
            nursery.start_soon(sleeper)
            await turns()
            assert record == ["sleeping"]
            nursery.cancel_scope.shield = False
            await turns()
            assert record == ["sleeping", "cancelled"]


async def test_basic_timeout() -> None:
    start = segue.current_time()
    with CancelScope() as scope:
        assert scope.deadline == inf
        scope.deadline = start + 0.01
        assert scope.deadline == start + 0.01
    await sleep(0.02)
    assert not scope.cancel_called
    with CancelScope(deadline=segue.current_time() + 0.01) as scope:
        await sleep_forever()
    assert scope.cancel_called and scope.cancelled_caught
    with CancelScope() as scope:
        await checkpoint()
        scope.deadline = segue.current_time() + 10
        await checkpoint()
        scope.deadline = segue.current_time() - 1
        with pytest.raises(Cancelled):
            await checkpoint()
        with pytest.raises(Cancelled):
            await checkpoint()


async def test_cancel_scope_nesting() -> None:
    with CancelScope() as scope1:
        with CancelScope() as scope2:
            with CancelScope() as scope3:
                scope3.cancel()
                scope2.cancel()
                await sleep_forever()
    assert [s.cancel_called for s in (scope1, scope2, scope3)] == [False, True, True]
    assert [s.cancelled_caught for s in (scope1, scope2, scope3)] == [False, True, False]
    with CancelScope() as scope1:
        with CancelScope() as scope2:
            scope1.cancel()
            with pytest.raises(Cancelled):
                await checkpoint()
            with pytest.raises(Cancelled):
                await checkpoint()
            scope2.shield = True
            await checkpoint()
            scope2.cancel()
            with pytest.raises(Cancelled):
                await checkpoint()
    with CancelScope() as scope:
        scope.cancel()
        await turns()
    await checkpoint()
    assert not scope.cancelled_caught


async def test_unshield_while_cancel_propagating() -> None:
    with CancelScope() as outer:
        with CancelScope() as inner:
            outer.cancel()
            try:
                await checkpoint()
            finally:
                inner.shield = True
    assert outer.cancelled_caught and not inner.cancelled_caught


async def test_cancel_unbound() -> None:
    async def sleep_until_cancelled(scope: CancelScope) -> None:
        with scope, segue.fail_after(60):
            await sleep_forever()

    scope = CancelScope()
    scope.cancel()
    async with open_nursery() as nursery:
        nursery.start_soon(sleep_until_cancelled, scope)
    scope = CancelScope()
    async with open_nursery() as nursery:
        nursery.start_soon(sleep_until_cancelled, scope)
        await turns()
        scope.cancel()
    scope = CancelScope()
    scope.shield = True
    with CancelScope() as outer, scope:
        outer.cancel()
        await checkpoint()
        scope.shield = False
        with pytest.raises(Cancelled):
            await checkpoint()
    with CancelScope() as scope:
        await checkpoint()
    scope.cancel()
    await checkpoint()
    assert scope.cancel_called and not scope.cancelled_caught
    with pytest.raises(RuntimeError, match="entered before"), scope:
        pass
    with CancelScope() as scope, pytest.raises(RuntimeError, match="entered before"), scope:
        pass
    scope = CancelScope(deadline=segue.current_time() + 1)
    assert not scope.cancel_called
    scope.deadline -= 1
    assert scope.cancel_called
    scope.deadline += 1
    assert scope.cancel_called


async def test_cancel_scope_misnesting_1() -> None:
    with ExitStack() as stack:
        stack.enter_context(CancelScope())
        with CancelScope():
            with pytest.raises(RuntimeError, match="still open"):
                stack.close()


async def test_cancel_scope_misnesting_3() -> None:
    async def hold(task_status: Any) -> None:
        with CancelScope() as scope:
            task_status.started(scope)
            await sleep_forever()

    async with open_nursery() as nursery:
        scope = await nursery.start(hold)
        with pytest.raises(RuntimeError, match="in the task that entered them"):
            scope.__exit__(None, None, None)
        scope.cancel()


async def test_cancel_scope_validation() -> None:
    for bad in ({"deadline": 7, "relative_deadline": 3}, {"deadline": nan}, {"relative_deadline": nan}):
        with pytest.raises(ValueError):
            CancelScope(**bad)
    with pytest.raises(ValueError, match="negative"):
        CancelScope(relative_deadline=-3)
    scope = CancelScope()
    for name, value in (("deadline", nan), ("relative_deadline", nan), ("relative_deadline", -3)):
        with pytest.raises(ValueError):
            setattr(scope, name, value)
    scope.relative_deadline = 5
    assert scope.relative_deadline == 5
    for function in (segue.move_on_after, segue.fail_after):
        for seconds in (-1, nan):
            with pytest.raises(ValueError):
                function(seconds)


class Stubborn(asyncio.Future[int]):
    def cancel(self, msg: Any = None) -> bool:
        return False


async def test_failed_abort() -> None:
    record: list[str] = []
    scopes: list[CancelScope] = []
    wait = Stubborn()

    async def stubborn() -> None:
        with CancelScope() as scope:
            scopes.append(scope)
            record.append("sleep")
            assert await wait == 1
            record.append("woke")
            try:
                await checkpoint()
            except Cancelled:
                record.append("cancelled")

    async with open_nursery() as nursery:
        nursery.start_soon(stubborn)
        await turns()
        scopes[0].cancel()
        await turns()
        assert record == ["sleep"]
        wait.set_result(1)
    assert record == ["sleep", "woke", "cancelled"]


async def test_yield_briefly_checks_for_timeout() -> None:
    with CancelScope(deadline=segue.current_time() + 0.01):
        await checkpoint()
        while segue.current_time() < segue.current_effective_deadline():
            pass  # the loop has had no chance to run its timer
        with pytest.raises(Cancelled):
            await checkpoint()


async def test_nursery_closure() -> None:
    async def child1(nursery: segue.Nursery) -> None:
        nursery.start_soon(checkpoint)

    async with open_nursery() as nursery:
        nursery.start_soon(child1, nursery)
    with pytest.raises(RuntimeError, match="closed"):
        nursery.start_soon(checkpoint)


async def test_current_effective_deadline() -> None:
    assert segue.current_effective_deadline() == inf
    far = segue.current_time() + 1000
    with CancelScope(deadline=far + 5) as scope1:
        with CancelScope(deadline=far + 10) as scope2:
            assert segue.current_effective_deadline() == far + 5
            scope2.deadline = far + 3
            assert segue.current_effective_deadline() == far + 3
            scope2.deadline = far + 10
            assert segue.current_effective_deadline() == far + 5
            scope2.shield = True
            assert segue.current_effective_deadline() == far + 10
            scope2.shield = False
            scope1.cancel()
            assert segue.current_effective_deadline() == -inf
            scope2.shield = True
            assert segue.current_effective_deadline() == far + 10
        assert segue.current_effective_deadline() == -inf
    assert segue.current_effective_deadline() == inf


async def test_nursery_start() -> None:
    async def no_args() -> None:
        pass

    async def start_then_wait(value: int, *, task_status: Any = TASK_STATUS_IGNORED) -> None:
        await checkpoint()
        task_status.started(value)
        await checkpoint()

    async def started_twice(*, task_status: Any) -> None:
        task_status.started()
        with pytest.raises(RuntimeError, match="twice"):
            task_status.started()

    async def started_and_done(*, task_status: Any) -> None:
        task_status.started("hi")

    async def started_and_failed(*, task_status: Any) -> None:
        task_status.started()
        raise KeyError

    async with open_nursery() as nursery:
        with pytest.raises(TypeError):
            await nursery.start(no_args)
        assert await nursery.start(start_then_wait, 7) == 7
        assert len(nursery.child_tasks) == 1
        await start_then_wait(8)
        await nursery.start(started_twice)
        with CancelScope() as scope:
            scope.cancel()
            with pytest.raises(Cancelled):
                await nursery.start(start_then_wait, 9)
        with CancelScope() as scope:
            scope.cancel()
            assert await nursery.start(started_and_done) == "hi"
        assert not scope.cancelled_caught
        with CancelScope() as scope:
            scope.cancel()
            with pytest.raises(KeyError):
                await nursery.start(started_and_failed)
    with pytest.raises(RuntimeError, match="closed"):
        await nursery.start(start_then_wait, 1)


async def test_nursery_start_with_cancelled_nursery() -> None:
    async def hold_nursery(task_status: Any) -> None:
        async with open_nursery() as nursery:
            task_status.started(nursery)
            await sleep_forever()

    async def sleeping_children(before: Callable[[], object], *, task_status: Any) -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(sleep_forever)
            nursery.start_soon(sleep_forever)
            await turns()
            before()
            task_status.started()

    async with open_nursery() as nursery:
        target = await nursery.start(hold_nursery)
        await target.start(sleeping_children, target.cancel_scope.cancel)
    async with open_nursery() as nursery:
        target = await nursery.start(hold_nursery)
        await target.start(sleeping_children, lambda: None)
        target.cancel_scope.cancel()


async def test_nursery_start_keeps_nursery_open() -> None:
    gate, ended = asyncio.Event(), []

    async def start_late(*, task_status: Any) -> None:
        await gate.wait()
        task_status.started()
        await checkpoint()
        ended.append(1)

    async with open_nursery() as outer:
        async with open_nursery() as inner:
            outer.start_soon(inner.start, start_late)
            asyncio.get_running_loop().call_later(0.01, gate.set)
            await turns()
        assert ended == [1]


async def test_child_crash_wakes_parent() -> None:
    async def crash() -> None:
        raise ValueError

    with raises_group(ValueError):
        async with open_nursery() as nursery:
            nursery.start_soon(crash)
            await sleep_forever()


async def test_very_deep_cancel_scope_nesting() -> None:
    with ExitStack() as stack:
        outermost = stack.enter_context(CancelScope())
        for _ in range(5000):
            stack.enter_context(CancelScope())
        outermost.cancel()
        await checkpoint()
    assert outermost.cancelled_caught


async def test_cancel_scope_deadline_duplicates() -> None:
    loop = asyncio.get_running_loop()
    with CancelScope() as scope:
        for _ in range(1000):
            scope.deadline = segue.current_time() + 9998
            scope.deadline = segue.current_time() + 9999
        assert loop._counts()[1] == 1  # type: ignore[attr-defined]
        await sleep(0.001)


async def test_cancel_scope_no_cancellederror() -> None:
    with raises_group(RuntimeError, RuntimeError):
        with CancelScope() as scope:
            scope.cancel()
            raise ExceptionGroup("test", [RuntimeError(), RuntimeError()])
    assert not scope.cancelled_caught


async def test_start_exception_preserves_cause_and_context() -> None:
    async def task(*, task_status: Any) -> None:
        exc = ValueError("foo")
        exc.__cause__, exc.__context__ = SyntaxError("bar"), TypeError("baz")
        raise exc

    with raises_group(ValueError) as info:
        async with open_nursery() as nursery:
            await nursery.start(task)
    exc = info.value.exceptions[0]
    assert isinstance(exc.__cause__, SyntaxError) and isinstance(exc.__context__, TypeError)


@pytest.fixture
def garbage() -> Iterator[list[Any]]:
    gc.collect()
    flags = gc.get_debug()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()


async def test_cancel_scope_usage_does_not_create_cyclic_garbage(garbage: list[Any]) -> None:
    async def cancel_one() -> None:
        with CancelScope() as scope:
            scope.cancel()
            await sleep_forever()

    await cancel_one()
    await cancel_one()
    with segue.move_on_after(0.001):
        await sleep_forever()
    gc.collect()
    assert garbage == []


async def test_nurseries_do_not_create_cyclic_garbage(garbage: list[Any]) -> None:
    async def crash() -> None:
        raise ValueError

    async def use() -> None:
        try:
            with CancelScope() as outer:
                async with open_nursery() as nursery:
                    nursery.start_soon(sleep_forever)
                    outer.cancel()
                    nursery.start_soon(crash)
        except* ValueError:
            pass

    await use()
    gc.collect()
    assert garbage == []


async def test_nursery_goes_at_once() -> None:
    async with open_nursery() as nursery:
        nursery.start_soon(checkpoint)
        nursery.cancel_scope.cancel()
    reference = weakref.ref(nursery)
    del nursery
    await checkpoint()
    assert reference() is None


async def test_locals_destroyed_promptly_on_cancel() -> None:
    class Local:
        pass

    destroyed = []

    async def task() -> None:
        local = Local()
        weakref.finalize(local, destroyed.append, 1)
        await checkpoint()

    async with open_nursery() as nursery:
        nursery.start_soon(task)
        nursery.cancel_scope.cancel()
    assert destroyed == [1]


async def test_timekeeping() -> None:
    start = segue.current_time()
    with segue.move_on_at(start + 0.05) as scope:
        await sleep_forever()
    assert scope.cancelled_caught and segue.current_time() >= start + 0.05
    with pytest.raises(segue.TooSlowError):
        with segue.fail_at(segue.current_time()):
            await sleep_forever()
    assert sys.exc_info() == (None, None, None)
