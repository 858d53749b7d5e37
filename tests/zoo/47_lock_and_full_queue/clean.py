"""The queue needs no lock."""
import asyncio


async def produce(queue: asyncio.Queue[int]) -> None:
    for number in range(5):
        await queue.put(number)


async def consume(queue: asyncio.Queue[int]) -> None:
    for _ in range(5):
        await queue.get()


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    tasks = [
        asyncio.create_task(produce(queue), name="producer"),
        asyncio.create_task(consume(queue), name="consumer"),
    ]
    done, pending = await asyncio.wait(tasks, timeout=0.3)
    print(len(pending), "were stuck")


asyncio.run(main())
