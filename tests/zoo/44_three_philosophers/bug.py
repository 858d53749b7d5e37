# code: deadlock
# tasks: plato, kant, hume
# cure: same order
"""Three tasks in a circle, each with one lock and waiting for the next one's, taken in a helper."""
import asyncio


class Fork:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        await self._lock.acquire()  # BUG

    def put_back(self) -> None:
        self._lock.release()


async def dine(left: Fork, right: Fork) -> None:
    await left.take()
    await asyncio.sleep(0.01)
    await right.take()
    right.put_back()
    left.put_back()


async def main() -> None:
    forks = [Fork() for _ in range(3)]
    async with asyncio.timeout(0.5):
        async with asyncio.TaskGroup() as group:
            for number, name in enumerate(["plato", "kant", "hume"]):
                group.create_task(dine(forks[number], forks[(number + 1) % 3]), name=name)


try:
    asyncio.run(main())
except TimeoutError:
    print("they starve")
