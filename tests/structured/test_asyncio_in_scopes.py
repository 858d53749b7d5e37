"""asyncio's own classes inside a cancelled scope: they finish in few steps, also when a child cleans up
slowly.

Steps are counted, not seconds: each event is a step, wait, wake or cancellation of some task.
"""

from __future__ import annotations

import asyncio

import pytest
import segue
from stepping import Work, turns

FEW = 200


class Child:
    """A task that waits, and takes a second to clean up when cancelled."""

    def __init__(self) -> None:
        self.cleaned = False

    async def run(self) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)
            self.cleaned = True


async def test_task_group_waits_for_a_slow_child() -> None:
    child = Child()
    work = Work()
    with segue.CancelScope() as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child.run())
            await turns()
            scope.cancel()
            await asyncio.sleep(3600)
    assert scope.cancelled_caught and child.cleaned
    assert work.events() < FEW


async def test_task_group_left_normally_is_cancelled_while_it_waits() -> None:
    child = Child()
    work = Work()
    with segue.move_on_after(0.01) as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(child.run())
    assert scope.cancelled_caught and child.cleaned
    assert work.events() < FEW


async def test_task_group_error_beside_a_cancellation_comes_out() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise KeyError("in the cleanup")

    with pytest.raises(ExceptionGroup) as info, segue.move_on_after(0.01):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    assert repr(info.value.exceptions) == "(KeyError('in the cleanup'),)"
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_nested_task_groups_do_not_lose_the_cancellation() -> None:
    child = Child()
    with segue.move_on_after(0.01) as scope:
        async with asyncio.TaskGroup() as outer:

            async def inner() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child.run())

            outer.create_task(inner())
    assert scope.cancelled_caught and child.cleaned


async def test_condition_reacquires_its_lock() -> None:
    condition = asyncio.Condition()
    held_by_us = []

    async def holder() -> None:
        async with condition:
            await asyncio.sleep(1)

    work = Work()
    with segue.CancelScope() as scope:
        async with condition:
            task = asyncio.create_task(holder())
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
            try:
                await condition.wait()
            finally:
                held_by_us.append(condition.locked() and task.done())
    assert scope.cancelled_caught and held_by_us == [True]
    assert work.events() < FEW


async def test_condition_cancelled_only_while_it_reacquires_is_still_the_scopes() -> None:
    """3.11's Condition raises a fresh CancelledError here, which carries no tag."""
    condition = asyncio.Condition()
    scope = segue.CancelScope()

    async def waiter() -> None:
        with scope:
            async with condition:
                await condition.wait()

    task = asyncio.create_task(waiter())
    await turns()
    async with condition:
        condition.notify()
        await turns()  # the waiter now waits for the lock
        scope.cancel()
        await turns()
    await task
    assert scope.cancelled_caught and not condition.locked()


async def test_wait_for_cancels_what_it_waits_for() -> None:
    child = Child()
    work = Work()
    task = asyncio.create_task(child.run())
    with segue.move_on_after(0.01) as scope:
        await asyncio.wait_for(task, 3600)
    assert scope.cancelled_caught
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.cleaned
    assert work.events() < FEW


async def test_wait_for_times_out_inside_a_scope() -> None:
    with segue.CancelScope() as scope:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(3600), 0.01)
        await segue.checkpoint()
    assert not scope.cancel_called


async def test_timeout_inside_a_cancelled_scope_is_transparent() -> None:
    with segue.CancelScope() as scope:
        async with asyncio.timeout(3600):
            scope.cancel()
            await asyncio.sleep(3600)
    assert scope.cancelled_caught
    assert asyncio.get_running_loop()._counts()[1] == 0


async def test_timeout_that_expires_in_the_cleanup_of_a_cancellation_still_raises() -> None:
    with pytest.raises(TimeoutError), segue.CancelScope() as scope:
        async with asyncio.timeout(0.01):
            try:
                scope.cancel()
                await asyncio.sleep(3600)
            finally:
                with segue.CancelScope(shield=True):
                    await asyncio.sleep(3600)
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_timeout_around_a_scope_cancels_it_natively() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            with segue.CancelScope() as scope:
                await asyncio.sleep(3600)
    assert not scope.cancel_called


async def test_shield_protects_the_inner_task_from_the_scope() -> None:
    async def inner() -> str:
        await asyncio.sleep(0.01)
        return "done"

    task = asyncio.create_task(inner())
    with segue.CancelScope() as scope:
        scope.cancel()
        await asyncio.shield(task)
    assert scope.cancelled_caught
    assert await task == "done"


async def test_gather_and_wait_in_a_cancelled_scope() -> None:
    with segue.move_on_after(0.01) as scope:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))
    assert scope.cancelled_caught
    tasks = [asyncio.create_task(asyncio.sleep(0.02, i)) for i in range(2)]
    with segue.move_on_after(0.01) as scope:
        await asyncio.wait(tasks)
    assert scope.cancelled_caught
    assert [await t for t in tasks] == [0, 1]


async def test_an_idle_cancelled_scope_costs_nothing() -> None:
    """A cancelled nursery that waits a second for a child behind a shield takes no steps meanwhile."""

    async def stubborn() -> None:
        with segue.CancelScope(shield=True):
            await asyncio.sleep(1)

    work = Work()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(stubborn)
        nursery.cancel_scope.cancel()
    assert work.events() < FEW


async def test_a_task_on_asyncios_own_loop_gets_a_clear_error() -> None:
    def other_loop() -> None:
        async def main() -> None:
            with pytest.raises(RuntimeError, match="needs a running Segue event loop"):
                segue.CancelScope().__enter__()

        runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        with runner:
            runner.run(main())

    await asyncio.to_thread(other_loop)
    with pytest.raises(RuntimeError, match="no event loop runs"):
        await asyncio.to_thread(segue.CancelScope().__enter__)
