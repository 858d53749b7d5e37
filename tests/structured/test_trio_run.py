"""`segue.trio.run`: what surrounds the main task. Trio's own tests of it run in tests/conformance/trio."""

import signal
import threading
from collections.abc import AsyncIterator

import pytest
import segue
from segue import trio
from segue.testing import MockClock, wait_all_tasks_blocked


def test_what_main_returns_or_raises_comes_out_as_it_is() -> None:
    error = KeyError("x")

    async def returns(x: int) -> int:
        return x

    async def fails() -> None:
        raise error

    assert trio.run(returns, 8) == 8
    with pytest.raises(KeyError) as caught:
        trio.run(fails)
    assert caught.value is error


def test_system_tasks_end_with_the_main_task() -> None:
    record = []

    async def system() -> None:
        try:
            await trio.sleep_forever()
        finally:
            record.append("system task ended")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(system)
        await wait_all_tasks_blocked()
        record.append("main ended")

    trio.run(main)
    assert record == ["main ended", "system task ended"]


def test_a_failing_system_task_ends_the_run() -> None:
    async def system() -> None:
        raise KeyError

    async def main() -> None:
        trio.lowlevel.spawn_system_task(system)
        await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError) as caught:
        trio.run(main)
    cause = caught.value.__cause__
    assert isinstance(cause, BaseExceptionGroup) and cause.subgroup(KeyError) is not None


def test_run_inside_a_run_is_refused() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match="from inside"):
            trio.run(inner)

    trio.run(main)
    segue.run(main())


@pytest.mark.parametrize("waiting", [True, False])
def test_ctrl_c_is_raised_in_main(waiting: bool) -> None:
    cleaned_up = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up.append(True)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await wait_all_tasks_blocked()
            if waiting:
                threading.Thread(target=signal.pthread_kill, args=(threading.get_ident(), signal.SIGINT)).start()
                await trio.sleep_forever()
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(BaseException) as caught:
        trio.run(main)
    raised = caught.value
    while isinstance(raised, BaseExceptionGroup):
        (raised,) = raised.exceptions
    assert isinstance(raised, KeyboardInterrupt)
    assert cleaned_up == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_outside_of_the_main_thread_leaves_signals_alone() -> None:
    results = []

    async def main() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: results.append(trio.run(main)))
    thread.start()
    thread.join()
    assert results == [3]
    assert signal.getsignal(signal.SIGINT) is before


def test_generators_left_open_are_closed_at_the_end_where_they_may_wait() -> None:
    record = []
    left_open = []

    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()
            record.append("closed")

    async def main() -> None:
        left_open.append(generator())
        assert await left_open[0].__anext__() == 1

    trio.run(main)
    assert record == ["closed"]


def test_a_clock_of_the_programs_own_decides_about_timeouts() -> None:
    async def main() -> tuple[float, bool]:
        with trio.move_on_after(3600) as scope:
            await trio.sleep_forever()
        return trio.current_time(), scope.cancelled_caught

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == (3600, True)


def test_the_virtual_clock_waits_for_those_who_wait_for_quiet() -> None:
    """Rule 22."""
    record = []

    async def sleeper() -> None:
        await trio.sleep(1)
        record.append("slept")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            for _ in range(3):
                await wait_all_tasks_blocked()
                record.append("quiet")

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert record == ["quiet", "quiet", "quiet", "slept"]


def test_asyncio_code_runs_in_it() -> None:
    import asyncio

    async def main() -> str:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0.001, "asyncio"))
        return task.result()

    assert trio.run(main) == "asyncio"


def test_nothing_of_the_instruments_is_left_when_they_are_removed() -> None:
    class Steps(trio.abc.Instrument):
        def __init__(self) -> None:
            self.count = 0

        def before_task_step(self, task: object) -> None:
            self.count += 1

        def before_io_wait(self, timeout: float) -> None: ...

    async def main() -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        await trio.lowlevel.checkpoint()
        assert steps.count > 0
        trio.lowlevel.remove_instrument(steps)
        assert {"_task_hook", "_before_wait", "_after_wait"}.isdisjoint(vars(loop))
        seen = steps.count
        await trio.lowlevel.checkpoint()
        assert steps.count == seen

    steps = Steps()
    trio.run(main, instruments=[steps])


def test_guest_mode_is_refused_with_a_reason() -> None:
    with pytest.raises(NotImplementedError, match="guest"):
        trio.lowlevel.start_guest_run(lambda: None)
