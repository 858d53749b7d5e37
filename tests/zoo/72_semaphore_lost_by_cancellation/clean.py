"""`async with`."""
import asyncio


async def job(slots: asyncio.BoundedSemaphore) -> None:
    async with slots:
        await asyncio.sleep(0.1)


async def main() -> None:
    slots = asyncio.BoundedSemaphore(1)
    for number in range(2):
        task = asyncio.create_task(job(slots), name=f"job-{number}")
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    print(slots.locked())


asyncio.run(main())
