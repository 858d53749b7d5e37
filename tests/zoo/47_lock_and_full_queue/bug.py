# code: deadlock, lock-held-long, queue-not-drained
# tasks: producer
# cure: lock
"""A producer waits for room in a queue while it holds the lock that the consumer needs to take something out."""
import asyncio


async def produce(lock: asyncio.Lock, queue: asyncio.Queue[int]) -> None:
    async with lock:
        for number in range(5):
            await queue.put(number)  # BUG


async def consume(lock: asyncio.Lock, queue: asyncio.Queue[int]) -> None:
    for _ in range(5):
        async with lock:
            await queue.get()


async def main() -> None:
    lock = asyncio.Lock()
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    tasks = [
        asyncio.create_task(produce(lock, queue), name="producer"),
        asyncio.create_task(consume(lock, queue), name="consumer"),
    ]
    done, pending = await asyncio.wait(tasks, timeout=0.3)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    print(len(pending), "were stuck")


asyncio.run(main())
