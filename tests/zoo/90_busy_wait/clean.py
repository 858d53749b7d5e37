"""A producer that lets its consumer run after each of many items."""
import asyncio


async def produce(queue: asyncio.Queue[int]) -> None:
    number = 0
    while number < 20_000:
        queue.put_nowait(number)
        number += 1
        await asyncio.sleep(0)


async def consume(queue: asyncio.Queue[int]) -> None:
    for _ in range(20_000):
        await queue.get()


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue), name="producer")
        group.create_task(consume(queue), name="consumer")


asyncio.run(main())
