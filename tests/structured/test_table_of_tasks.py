"""Tasks of asyncio, anyio and Segue in each other: the table of docs/howto/structured-concurrency.md, row by row.

Each test says whose scope a task is in, who waits for it, when it is cancelled and who gets what it raises.
"""

from __future__ import annotations

import asyncio

import pytest
import segue

anyio = pytest.importorskip("anyio")


class Work:
    """A task that waits until it is released or cancelled, and says which."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.end = "running"
        self.why: segue.Cancellation | None = None
        self.cleanup = "none"

    async def run(self) -> None:
        try:
            await self.released.wait()
        except asyncio.CancelledError as exc:
            self.end, self.why = "cancelled", segue.cancellation(exc)
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.cleanup = "cancelled again"
            else:
                self.cleanup = "ran"
            raise
        self.end = "finished"


async def fail() -> None:
    raise ValueError("from a task")


async def test_a_nurserys_task_is_in_the_nurserys_scope_and_not_in_the_callers() -> None:
    work = Work()
    async with segue.open_nursery() as nursery:
        with segue.CancelScope() as scope:
            nursery.start_soon(work.run)
            scope.cancel()
            await segue.sleep(0)
        await segue.sleep(0)
        assert work.end == "running"
        nursery.cancel_scope.cancel()
    assert (work.end, work.cleanup) == ("cancelled", "cancelled again")


async def test_create_task_is_in_no_scope_and_nobody_waits_for_it() -> None:
    work = Work()
    with segue.CancelScope() as scope:
        async with segue.open_nursery() as nursery:
            task = asyncio.create_task(work.run())
            await segue.sleep(0)
            nursery.cancel_scope.cancel()
        scope.cancel()
    assert not task.done()
    work.released.set()
    await task
    assert work.end == "finished"


async def test_create_task_that_is_awaited_is_cancelled_by_task_cancel() -> None:
    work = Work()
    with segue.CancelScope() as scope:
        task = asyncio.create_task(work.run())
        await segue.sleep(0)
        scope.cancel()
        await task
    assert scope.cancelled_caught
    assert (work.end, work.cleanup) == ("cancelled", "ran")
    assert work.why is not None and work.why.source == "Task.cancel"


async def test_what_create_task_raises_goes_to_who_awaits_it() -> None:
    async with segue.open_nursery():
        task = asyncio.create_task(fail())
        await segue.sleep(0)
        await segue.sleep(0)
    with pytest.raises(ValueError):
        await task


async def test_scopes_opened_inside_of_a_create_task_work_there() -> None:
    async def limited() -> bool:
        with segue.move_on_after(0) as scope:
            await segue.sleep_forever()
        return scope.cancelled_caught

    assert await asyncio.create_task(limited())


async def test_task_groups_task_is_cancelled_by_the_group_when_its_host_is() -> None:
    work = Work()
    with segue.CancelScope() as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.run())
            await segue.sleep(0)
            scope.cancel()
    assert scope.cancelled_caught
    assert (work.end, work.cleanup) == ("cancelled", "ran")
    assert work.why is not None and work.why.source == "Task.cancel"


async def test_task_group_opened_outside_of_the_scope_does_not_see_it() -> None:
    work = Work()
    async with asyncio.TaskGroup() as group:
        with segue.CancelScope() as scope:
            group.create_task(work.run())
            await segue.sleep(0)
            scope.cancel()
            await segue.sleep(0)
        assert scope.cancelled_caught and work.end == "running"
        work.released.set()
    assert work.end == "finished"


async def test_failures_in_a_task_group_come_out_of_the_nursery_in_two_groups() -> None:
    work = Work()

    async def host() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as info:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(work.run)
            nursery.start_soon(host)
    (inner,) = info.value.exceptions
    assert isinstance(inner, ExceptionGroup) and isinstance(inner.exceptions[0], ValueError)
    assert work.end == "cancelled"


async def test_nursery_in_a_task_groups_task_is_cancelled_with_it() -> None:
    work = Work()

    async def host() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(work.run)

    with pytest.raises(ExceptionGroup) as info:
        async with asyncio.TaskGroup() as group:
            group.create_task(host())
            await segue.sleep(0)
            group.create_task(fail())
    assert isinstance(info.value.exceptions[0], ValueError)
    assert (work.end, work.cleanup) == ("cancelled", "cancelled again")


async def test_anyio_group_in_a_scope_is_cancelled_with_it() -> None:
    work = Work()
    with segue.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(work.run)
            await segue.sleep(0)
            scope.cancel()
    assert scope.cancelled_caught
    assert (work.end, work.cleanup) == ("cancelled", "cancelled again")


async def test_nursery_in_an_anyio_scope_is_cancelled_with_it() -> None:
    work = Work()
    with anyio.CancelScope() as scope:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(work.run)
            await segue.sleep(0)
            scope.cancel()
    assert scope.cancelled_caught
    assert (work.end, work.cleanup) == ("cancelled", "cancelled again")
    assert work.why is not None and work.why.source == "nursery failure"


async def test_background_is_in_no_scope() -> None:
    work = Work()
    with segue.CancelScope() as scope:
        task = segue.background(work.run())
        scope.cancel()
        await segue.sleep(0)
    assert scope.cancelled_caught and not task.done()
    work.released.set()
    await task
    assert work.end == "finished"


async def test_gather_of_asyncio_is_cancelled_and_shield_is_not() -> None:
    gathered, shielded = Work(), Work()
    with segue.CancelScope() as scope:
        waiting = asyncio.gather(gathered.run())
        await segue.sleep(0)
        scope.cancel()
        await waiting
    inner = asyncio.create_task(shielded.run())
    with segue.CancelScope() as scope:
        scope.cancel()
        await asyncio.shield(inner)
    await segue.sleep(0)
    assert (gathered.end, shielded.end) == ("cancelled", "running")
    shielded.released.set()
    await inner


async def test_task_cancel_ends_one_child_and_not_the_nursery() -> None:
    one, other = Work(), Work()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(one.run, name="one")
        nursery.start_soon(other.run)
        await segue.sleep(0)
        (task,) = (task for task in nursery.child_tasks if task.name == "one")
        task.cancel()
        await segue.sleep(0)
        await segue.sleep(0)
        other.released.set()
    assert (one.end, one.cleanup, other.end) == ("cancelled", "ran", "finished")
