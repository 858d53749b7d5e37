"""Both are in a group, and the consumer's failure ends the producer."""
import asyncio


async def consume(queue: asyncio.Queue[str]) -> None:
    while True:
        int(await queue.get())


async def produce(queue: asyncio.Queue[str]) -> None:
    for item in ["1", "x", *map(str, range(20))]:
        await queue.put(item)


async def main() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue(5)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(consume(queue), name="consumer")
            group.create_task(produce(queue), name="producer")
    except* ValueError as e:
        print(e.exceptions)


asyncio.run(main())
