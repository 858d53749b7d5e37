# code: queue-not-drained, never-retrieved, queue-grows
# tasks: producer
# cure: consumer
"""The consumer ended at the first bad item; the producer fills the bounded queue and waits."""
import asyncio


async def consume(queue: asyncio.Queue[str]) -> None:
    while True:
        int(await queue.get())


async def produce(queue: asyncio.Queue[str]) -> None:
    for item in ["1", "x", *map(str, range(20))]:
        await queue.put(item)  # BUG


async def main() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue(5)
    consumer = asyncio.create_task(consume(queue), name="consumer")
    producer = asyncio.create_task(produce(queue), name="producer")
    try:
        await asyncio.wait_for(producer, 0.3)
    except TimeoutError:
        print("stuck", consumer.exception())


asyncio.run(main())
