# code: queue-not-drained
# tasks:
# cure: consumer
"""The consumer fails at once, and the producer never notices."""
import asyncio


async def produce(queue: asyncio.Queue) -> None:
    for number in range(20):
        await queue.put(number)  # BUG
        await asyncio.sleep(0)


async def consume(queue: asyncio.Queue) -> None:
    settings: dict = {}
    try:
        limit = settings["limit"]
    except KeyError:
        return
    while True:
        print(await queue.get(), limit)


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    consumer = asyncio.create_task(consume(queue), name="consumer")
    await asyncio.create_task(produce(queue), name="producer")
    await consumer


asyncio.run(main())
