# code: queue-not-drained, never-retrieved, waits-forever
# tasks: Task-1
# cure: task_done
"""The only worker fails at an item; `join()` waits for the rest."""
import asyncio


async def worker(queue: asyncio.Queue[str]) -> None:
    while True:
        item = await queue.get()
        int(item)
        queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    for item in ["1", "two", "3"]:
        queue.put_nowait(item)
    task = asyncio.create_task(worker(queue), name="worker")
    try:
        async with asyncio.timeout(0.3):
            await queue.join()  # BUG
    except TimeoutError:
        print("not all was done", task.exception())


asyncio.run(main())
