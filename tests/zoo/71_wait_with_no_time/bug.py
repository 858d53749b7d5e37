# code: spins
# tasks: watcher
# cure: Wait
"""`asyncio.wait(..., timeout=0)` in a loop."""
import asyncio


async def watch(task: asyncio.Task[None]) -> None:
    while True:
        done, _ = await asyncio.wait({task}, timeout=0)  # BUG
        if done:
            return


async def main() -> None:
    job = asyncio.create_task(asyncio.sleep(0.5), name="job")
    await asyncio.create_task(watch(job), name="watcher")


asyncio.run(main())
