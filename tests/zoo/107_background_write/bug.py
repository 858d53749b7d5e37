# code: task-cut-off
# tasks: flusher
# cure: Await
"""The program ends while a background task is still writing."""
import asyncio


async def flush() -> None:
    await asyncio.sleep(0.2)
    print("flushed")


async def main() -> None:
    asyncio.create_task(flush(), name="flusher")  # BUG
    await asyncio.sleep(0.01)
    print("bye")


asyncio.run(main())
