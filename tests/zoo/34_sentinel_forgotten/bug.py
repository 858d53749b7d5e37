# code: waits-forever
# tasks: consumer
# cure: last item
"""The producer ends without telling the consumer, who waits for more."""
import asyncio


async def produce(queue: asyncio.Queue) -> None:
    for number in range(3):
        await queue.put(number)


async def consume(queue: asyncio.Queue) -> None:
    while (number := await queue.get()) is not None:  # BUG
        print(number)


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    consumer = asyncio.create_task(consume(queue), name="consumer")
    await produce(queue)
    try:
        async with asyncio.timeout(0.3):
            await consumer
    except TimeoutError:
        print("gave up")


asyncio.run(main())
