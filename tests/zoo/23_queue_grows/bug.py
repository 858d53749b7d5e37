# code: queue-grows, queue-not-drained
# tasks: producer
# cure: maxsize
"""The producer is faster than the consumer, and nothing holds it back."""
import asyncio


async def produce(queue: asyncio.Queue) -> None:
    for number in range(3000):
        await queue.put(number)  # BUG
        await asyncio.sleep(0)


async def consume(queue: asyncio.Queue) -> None:
    while True:
        await queue.get()
        await asyncio.sleep(0.005)


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    consumer = asyncio.create_task(consume(queue), name="consumer")
    await asyncio.create_task(produce(queue), name="producer")
    consumer.cancel()
    await asyncio.wait([consumer])


asyncio.run(main())
