# code: spins
# tasks: consumer
# cure: queue
"""`get_nowait` in a loop with `sleep(0)`, while a producer is slow."""
import asyncio


async def consume(queue: asyncio.Queue[int]) -> None:
    got = 0
    while got < 3:
        try:
            queue.get_nowait()
        except asyncio.QueueEmpty:
            await asyncio.sleep(0)  # BUG
            continue
        got += 1


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
