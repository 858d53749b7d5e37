import asyncio


async def produce(queue: asyncio.Queue) -> None:
    for number in range(20):
        await queue.put(number)
        await asyncio.sleep(0)
    await queue.put(None)


async def consume(queue: asyncio.Queue) -> None:
    while (number := await queue.get()) is not None:
        print(number)


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(consume(queue), name="consumer")
        group.create_task(produce(queue), name="producer")


asyncio.run(main())
