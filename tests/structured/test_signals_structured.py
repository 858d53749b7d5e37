"""`open_signal_receiver`: nothing is lost, nothing comes twice, and handlers are what they were."""

import asyncio
import os
import signal
import threading
from types import FrameType

import pytest
import segue
from segue import to_thread
from segue._signals import _signal_handler, get_pending_signal_count
from stepping import turns


async def test_signals_are_iterated_over() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with segue.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as receiver:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await anext(receiver) == signal.SIGUSR1
        os.kill(os.getpid(), signal.SIGUSR2)
        async for signum in receiver:
            assert signum == signal.SIGUSR2
            break
        assert get_pending_signal_count(receiver) == 0
    assert signal.getsignal(signal.SIGUSR1) is before
    with pytest.raises(RuntimeError):
        await anext(receiver)


async def test_signals_are_merged_and_keep_their_order() -> None:
    with segue.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as receiver:
        for signum in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            signal.raise_signal(signum)
        await turns()
        assert get_pending_signal_count(receiver) == 2
        assert [await anext(receiver), await anext(receiver)] == [signal.SIGUSR2, signal.SIGUSR1]


async def test_signal_wakes_an_idle_loop() -> None:
    with segue.open_signal_receiver(signal.SIGUSR1) as receiver:
        thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
        thread.start()
        assert await anext(receiver) == signal.SIGUSR1
        thread.join()


async def test_cancelled_wait_loses_no_signal() -> None:
    with segue.open_signal_receiver(signal.SIGUSR1) as receiver:
        for _ in range(2):
            with segue.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGUSR1)
                await anext(receiver)
            await turns()
        assert await anext(receiver) == signal.SIGUSR1


async def test_what_was_not_taken_goes_to_the_handler_of_before() -> None:
    for heard_of in (False, True):
        got: list[int] = []

        def handler(signum: int, frame: FrameType | None, got: list[int] = got) -> None:
            got.append(signum)

        with _signal_handler({signal.SIGUSR1, signal.SIGUSR2}, handler):
            with segue.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2):
                signal.raise_signal(signal.SIGUSR1)
                signal.raise_signal(signal.SIGUSR2)
                if heard_of:
                    await turns()
            await turns()
        assert got == [signal.SIGUSR1, signal.SIGUSR2]


def test_signal_right_before_the_end_of_the_loop_goes_to_the_handler_of_before() -> None:
    got: list[int] = []

    async def main() -> None:
        with segue.open_signal_receiver(signal.SIGUSR1):
            signal.raise_signal(signal.SIGUSR1)

    with _signal_handler({signal.SIGUSR1}, lambda signum, _: got.append(signum)):
        segue.run(main())
    assert got == [signal.SIGUSR1]


async def test_handlers_that_raise_are_all_called() -> None:
    def fail(signum: int, frame: FrameType | None) -> None:
        raise ValueError(signum)

    with _signal_handler({signal.SIGUSR1, signal.SIGUSR2}, fail):
        with pytest.raises(ValueError) as caught:
            with segue.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2):
                signal.raise_signal(signal.SIGUSR1)
                signal.raise_signal(signal.SIGUSR2)
                await turns()
    assert caught.value.args == (signal.SIGUSR2,)
    assert isinstance(caught.value.__context__, ValueError)
    assert caught.value.__context__.args == (signal.SIGUSR1,)


async def test_one_task_at_a_time() -> None:
    with segue.open_signal_receiver(signal.SIGUSR1) as receiver:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with segue.open_nursery() as nursery:
                nursery.start_soon(receiver.__anext__)
                nursery.start_soon(receiver.__anext__)
    assert [type(e) for e in caught.value.exceptions] == [segue.BusyResourceError]


async def test_refusals() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(TypeError, match="No signals"):
        with segue.open_signal_receiver():
            pass
    with pytest.raises(ValueError):
        with segue.open_signal_receiver(signal.SIGUSR1, 1234567):
            pass
    assert signal.getsignal(signal.SIGUSR1) is before

    async def in_another_thread() -> None:
        with segue.open_signal_receiver(signal.SIGUSR1):
            pass

    with pytest.raises(RuntimeError, match="main thread"):
        await to_thread.run_sync(lambda: segue.run(in_another_thread()))


async def test_beside_asyncio_signal_handlers() -> None:
    loop, got = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR2, got.set)
    try:
        with segue.open_signal_receiver(signal.SIGUSR1) as receiver:
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await anext(receiver) == signal.SIGUSR1
            await got.wait()
    finally:
        loop.remove_signal_handler(signal.SIGUSR2)
