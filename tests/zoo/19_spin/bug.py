# code: spins
# tasks: watcher
# cure: Event
"""A task asks again and again whether something has happened."""
import asyncio

ready = False


async def watch() -> None:
    while not ready:
        await asyncio.sleep(0)  # BUG
    print("ready")


async def main() -> None:
    global ready
    task = asyncio.create_task(watch(), name="watcher")
    await asyncio.sleep(1)
    ready = True
    await task


asyncio.run(main())
