"""Scopes before and behind their time; what of scopes and nurseries stays that were never left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import weakref
from typing import Any

import pytest
import segue
from stepping import turns


@pytest.mark.parametrize("late", [0.0, -5.0, -math.inf])
async def test_a_deadline_that_has_passed_cancels_from_the_entry_on(late: float) -> None:
    with segue.CancelScope(deadline=segue.current_time() + late) as scope:
        assert segue.current_effective_deadline() == -math.inf
        scope.deadline = math.inf  # too late
        await segue.checkpoint()
    assert scope.cancelled_caught


async def test_no_time_at_all_cancels_from_the_entry_on() -> None:
    with segue.move_on_after(0) as scope:
        assert segue.current_effective_deadline() == -math.inf
        scope.relative_deadline = 60  # too late
        await segue.checkpoint()
    assert scope.cancelled_caught


async def test_a_relative_deadline_can_be_asked_for_behind_the_block() -> None:
    with segue.CancelScope(relative_deadline=60) as scope:
        pass
    assert 0 < scope.relative_deadline <= 60
    scope.relative_deadline = 3600
    assert 60 < scope.relative_deadline <= 3600 and not scope.cancel_called


async def test_a_task_that_ended_in_a_scope_is_not_kept_until_the_deadline() -> None:
    async def leaves_it_open() -> None:
        segue.CancelScope(deadline=segue.current_time() + 3600).__enter__()

    task = asyncio.create_task(leaves_it_open())
    await task
    gone = weakref.ref(task)
    del task
    await asyncio.sleep(0)  # in debug mode the handle that runs this step has the task as its argument
    gc.collect()
    assert gone() is None


async def test_who_leaves_the_scope_of_a_task_that_has_ended_is_told_whose_it_was() -> None:
    scope = segue.CancelScope(deadline=segue.current_time() + 3600)

    async def enters() -> None:
        scope.__enter__()

    await asyncio.create_task(enters(), name="the one that entered")
    with pytest.raises(RuntimeError, match="was entered in .*the one that entered.* and left from unrelated"):
        scope.__exit__(None, None, None)


@pytest.mark.parametrize("with_a_task", [False, True])
async def test_a_nursery_that_was_never_left_is_forgotten_with_its_tasks(with_a_task: bool) -> None:
    gone: list[weakref.ref[Any]] = []

    async def leaves_it_open() -> None:
        nursery = await segue.open_nursery().__aenter__()
        gone.append(weakref.ref(nursery))
        if with_a_task:
            nursery.start_soon(segue.sleep_forever)

    with contextlib.suppress(RuntimeError):
        await asyncio.create_task(leaves_it_open())
    await turns(5)
    gc.collect()
    assert [ref() for ref in gone] == [None]
    assert asyncio.all_tasks() == {asyncio.current_task()}
