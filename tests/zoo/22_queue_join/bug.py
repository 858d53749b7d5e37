# code: queue-not-drained
# tasks: Task-1
# cure: task_done
"""`task_done()` is forgotten when an item can't be worked on."""
import asyncio


async def worker(queue: asyncio.Queue) -> None:
    while True:
        number = await queue.get()
        if number == 3:
            continue
        queue.task_done()


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    for number in range(5):
        queue.put_nowait(number)
    task = asyncio.create_task(worker(queue), name="worker")
    try:
        async with asyncio.timeout(0.3):
            await queue.join()  # BUG
    except TimeoutError:
        print("gave up")
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
