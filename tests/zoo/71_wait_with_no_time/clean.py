"""Without a timeout."""
import asyncio


async def watch(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})


async def main() -> None:
    job = asyncio.create_task(asyncio.sleep(0.5), name="job")
    await asyncio.create_task(watch(job), name="watcher")


asyncio.run(main())
