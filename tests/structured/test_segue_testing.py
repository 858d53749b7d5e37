"""`segue.testing`: clock, quiet, order and checkpoints. Trio's own tests of them run in tests/conformance/trio."""

import math

import pytest
import segue
from segue.lowlevel import cancel_shielded_checkpoint, checkpoint
from segue.testing import (
    MockClock,
    Sequencer,
    assert_checkpoints,
    assert_no_checkpoints,
    trio_test,
    wait_all_tasks_blocked,
)


def test_a_clock_runs_at_its_rate_and_never_backwards() -> None:
    clock = MockClock(rate=2)
    now = [0.0]
    clock._real_clock = lambda: now[0]
    clock.rate = 2  # counts from here
    start = clock.current_time()
    now[0] += 3
    assert clock.current_time() == start + 6
    assert clock.deadline_to_sleep_time(start + 8) == 1
    with pytest.raises(ValueError):
        clock.jump(-1)
    with pytest.raises(ValueError):
        clock.rate = -1
    assert clock.autojump_threshold == math.inf


@trio_test
async def test_quiet_is_when_all_others_wait() -> None:
    record = []

    async def busy() -> None:
        for _ in range(20):
            await checkpoint()
        record.append("done")

    async with segue.open_nursery() as nursery:
        nursery.start_soon(busy)
        await wait_all_tasks_blocked()
        record.append("quiet")
    assert record == ["done", "quiet"]


async def test_quiet_works_on_a_loop_of_segue_run_too() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    await wait_all_tasks_blocked()
    assert {"_before_wait", "_after_wait"}.isdisjoint(vars(loop))


@trio_test
async def test_waiting_for_quiet_can_be_cancelled() -> None:
    with segue.move_on_after(0) as scope:
        await wait_all_tasks_blocked(60)
    assert scope.cancelled_caught


@trio_test
async def test_a_sequence_is_kept_and_used_once() -> None:
    order = []
    seq = Sequencer()

    async def visit(position: int) -> None:
        async with seq(position):
            order.append(position)

    async with segue.open_nursery() as nursery:
        for position in (2, 0, 1):
            nursery.start_soon(visit, position)
    assert order == [0, 1, 2]
    with pytest.raises(RuntimeError):
        async with seq(1):
            pass


@trio_test
async def test_a_checkpoint_is_both_halves() -> None:
    with assert_checkpoints():
        await checkpoint()
    with assert_no_checkpoints():
        pass
    with pytest.raises(AssertionError):
        with assert_checkpoints():
            await cancel_shielded_checkpoint()
    with pytest.raises(AssertionError):
        with assert_no_checkpoints():
            await cancel_shielded_checkpoint()


def test_only_one_clock_can_be_the_runs() -> None:
    @trio_test
    async def function(one: MockClock, two: MockClock) -> None: ...

    with pytest.raises(ValueError):
        function(one=MockClock(), two=MockClock())
