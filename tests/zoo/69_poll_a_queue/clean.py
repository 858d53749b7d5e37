"""It waits for items."""
import asyncio


async def consume(queue: asyncio.Queue[int]) -> None:
    for _ in range(3):
        await queue.get()


async def produce(queue: asyncio.Queue[int]) -> None:
    for number in range(3):
        await asyncio.sleep(0.2)
        await queue.put(number)


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(consume(queue), name="consumer")
        group.create_task(produce(queue), name="producer")


asyncio.run(main())
