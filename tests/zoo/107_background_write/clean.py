"""Many things done right at once: workers that are cancelled at the end, timeouts that are caught, a heartbeat."""
import asyncio
import contextlib


async def heartbeat() -> None:
    while True:
        await asyncio.sleep(0.01)


async def worker(queue: asyncio.Queue[int], results: list[int]) -> None:
    while True:
        item = await queue.get()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.005):
                    await asyncio.sleep(0.01 if item % 3 else 0)
                    results.append(item)
        finally:
            queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    results: list[int] = []
    beating = asyncio.create_task(heartbeat())
    workers = [asyncio.create_task(worker(queue, results)) for _ in range(3)]
    for number in range(20):
        queue.put_nowait(number)
    await queue.join()
    for task in [beating, *workers]:
        task.cancel()
    await asyncio.gather(beating, *workers, return_exceptions=True)
    event = asyncio.Event()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), 0.01)
    event.set()
    lock = asyncio.Lock()
    async with lock:
        pass
    print(sorted(results))


asyncio.run(main())
