"""The worker's failures are handled, and each item is done."""
import asyncio


async def worker(queue: asyncio.Queue[str]) -> None:
    while True:
        item = await queue.get()
        try:
            int(item)
        except ValueError as e:
            print("skipped", e)
        finally:
            queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    for item in ["1", "two", "3"]:
        queue.put_nowait(item)
    task = asyncio.create_task(worker(queue), name="worker")
    async with asyncio.timeout(0.3):
        await queue.join()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


asyncio.run(main())
