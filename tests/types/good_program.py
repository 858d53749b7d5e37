"""A program that uses Segue as a user would, with types. mypy accepts it; it also runs (see test_types.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, assert_type

import segue
from segue import trio


async def double(number: int) -> int:
    await segue.checkpoint()
    return number * 2


async def use_the_loop() -> None:
    loop = asyncio.get_running_loop()
    handle: asyncio.Handle = loop.call_soon("text".upper)
    timer: asyncio.TimerHandle = loop.call_later(60, lambda number: None, 5)
    handle.cancel()
    timer.cancel()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_soon(future.set_result, "done")
    assert_type(await future, str)
    task = loop.create_task(double(4), name="doubling")
    assert_type(await task, int)
    both = await asyncio.gather(double(1), double(2))
    assert_type(both, tuple[int, int])
    assert isinstance(task, segue.Task)
    assert isinstance(task, asyncio.Task)


async def use_scopes() -> None:
    with segue.move_on_after(0.01) as scope:
        assert_type(scope, segue.CancelScope)
        await segue.sleep_forever()
    assert_type(scope.cancelled_caught, bool)
    why = scope.cancellation
    assert why is not None and why.source == "deadline"
    assert_type(scope.deadline, float)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(double, 1)
        assert_type(nursery.cancel_scope, segue.CancelScope)
        assert_type(nursery.child_tasks, frozenset[segue.Task[Any]])


async def greet(name: str) -> str:
    return f"Hello, {name}"


async def double_in_time(number: int) -> int:
    with segue.fail_after(5):
        return await double(number)


async def send_numbers(
    send: segue.MemorySendChannel[int], task_status: segue.TaskStatus[str] = segue.TASK_STATUS_IGNORED
) -> None:
    async with send:
        task_status.started("begun")
        for number in range(3):
            await send.send(number)


async def use_channels_and_locks() -> None:
    send, receive = segue.open_memory_channel[int](0)
    assert_type(send, segue.MemorySendChannel[int])
    async with segue.open_nursery() as nursery, receive:
        assert await nursery.start(send_numbers, send.clone()) == "begun"
        await send.aclose()
        async for number in receive:
            assert_type(number, int)
    event = segue.Event()
    event.set()
    await event.wait()
    lock, limiter, semaphore = segue.Lock(), segue.CapacityLimiter(2), segue.Semaphore(1, max_value=1)
    async with lock, limiter, semaphore:
        assert_type(lock.statistics().tasks_waiting, int)
    condition = segue.Condition(lock)
    async with condition:
        condition.notify_all()


async def doubled(numbers: list[int]) -> AsyncGenerator[int, None]:
    for number in numbers:
        yield 2 * number


async def use_patterns() -> None:
    assert_type(await segue.gather(double(1), greet("Ada"), limit=1), tuple[int, str])
    assert_type(await segue.gather(*map(double, range(9)), limit=3), list[int])
    assert_type(await segue.race(double(1), double_in_time(1)), int)
    assert_type(await segue.retry(double, 3, attempts=2, on=OSError), int)
    async for number in segue.map_unordered(double, [1, 2], limit=2):
        assert_type(number, int)
    task = segue.background(double(5), name="five")
    assert_type(await task, int)
    async with segue.as_safe_channel(doubled)([1, 2]) as values:
        async for value in values:
            assert_type(value, int)


async def use_threads_files_and_the_low_level() -> None:
    assert_type(await segue.to_thread.run_sync(pow, 2, 3), int)
    async with await segue.open_file(__file__) as file:
        assert_type(await file.read(), str)
    task = segue.lowlevel.current_task()
    assert_type(task, segue.Task[Any])
    task.custom_sleep_data = None

    def abort(_: segue.lowlevel.RaiseCancel) -> segue.lowlevel.Abort:
        return segue.lowlevel.Abort.SUCCEEDED

    asyncio.get_running_loop().call_soon(segue.lowlevel.reschedule, task)
    await segue.lowlevel.wait_task_rescheduled(abort)


async def echo(stream: segue.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def use_streams() -> None:
    async with segue.open_nursery() as nursery:
        listeners = await nursery.start(segue.serve_tcp, echo, 0)
        client = await segue.testing.open_stream_to_socket_listener(listeners[0])
        async with client:
            await client.send_all(b"hello")
            assert await client.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


async def trio_program(name: str) -> int:
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            await trio.lowlevel.checkpoint()
    return len(name)


async def main() -> list[int]:
    await use_the_loop()
    await use_scopes()
    await use_channels_and_locks()
    await use_patterns()
    await use_threads_files_and_the_low_level()
    await use_streams()
    return [await double(number) for number in range(3)]


def run_everywhere() -> None:
    assert_type(segue.run(main()), list[int])
    with asyncio.Runner(loop_factory=segue.new_event_loop) as runner:
        assert_type(runner.get_loop(), asyncio.AbstractEventLoop)
        assert_type(runner.run(main()), list[int])
    with segue.Runner(debug=True) as own:
        assert_type(own.run(double(1)), int)
    loop = segue.EventLoop()
    try:
        assert_type(loop.run_until_complete(double(2)), int)
        assert_type(loop.time(), float)
        ordinary: asyncio.AbstractEventLoop = loop
        assert not ordinary.is_running()
    finally:
        loop.close()
    segue.install()
    assert_type(asyncio.run(main()), list[int])
    segue.uninstall()
    assert_type(trio.run(trio_program, "trio", clock=trio.testing.MockClock(autojump_threshold=0)), int)


if __name__ == "__main__":
    run_everywhere()
    print("typed and run", segue.__version__)
