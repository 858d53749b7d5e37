# code: spins
# tasks: watchdog
# cure: Wait
"""A busy wait with a counter and a deadline of its own."""
import asyncio
import time


async def watch(done: set[str], names: list[str]) -> int:
    turns = 0
    while not all(name in done for name in names):
        turns += 1
        await asyncio.sleep(0)  # BUG
    return turns


async def work(done: set[str], name: str) -> None:
    await asyncio.sleep(0.3)
    done.add(name)


async def main() -> None:
    done: set[str] = set()
    names = ["a", "b"]
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch(done, names), name="watchdog")
        for name in names:
            group.create_task(work(done, name), name=name)
    print(time.monotonic() - began > 0.3)


asyncio.run(main())
