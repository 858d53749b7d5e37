# code: outlives-owner
# tasks: writer
# cure: await task
"""A shielded task goes on when the one that waited for it has given up and ended."""
import asyncio


async def write() -> None:
    await asyncio.sleep(0.2)
    print("written")


async def handle() -> None:
    task = asyncio.create_task(write(), name="writer")
    await asyncio.shield(task)  # BUG


async def main() -> None:
    handler = asyncio.create_task(handle(), name="handler")
    await asyncio.sleep(0.01)
    handler.cancel()
    await asyncio.wait([handler])
    await asyncio.sleep(0.3)


asyncio.run(main())
