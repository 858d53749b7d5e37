"""A program that uses Segue as a user would, with types. mypy accepts it; it also runs (see test_types.py)."""

from __future__ import annotations

import asyncio
from typing import assert_type

import segue


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


async def main() -> list[int]:
    await use_the_loop()
    await use_scopes()
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


if __name__ == "__main__":
    run_everywhere()
    print("typed and run", segue.__version__)
