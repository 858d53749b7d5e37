import asyncio


async def produce(queue: asyncio.Queue) -> None:
    for number in range(300):
        await queue.put(number)
        await asyncio.sleep(0)


async def consume(queue: asyncio.Queue) -> None:
    while True:
        await queue.get()
        await asyncio.sleep(0.001)
        queue.task_done()


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue(maxsize=10)
    consumer = asyncio.create_task(consume(queue), name="consumer")
    await asyncio.create_task(produce(queue), name="producer")
    await queue.join()
    consumer.cancel()
    await asyncio.wait([consumer])


asyncio.run(main())
