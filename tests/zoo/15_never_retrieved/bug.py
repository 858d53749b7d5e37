# code: never-retrieved
# tasks: saver
# cure: TaskGroup
"""A background task fails, and nobody hears of it."""
import asyncio


async def save() -> None:
    await asyncio.sleep(0.01)
    raise OSError("disk full")


async def main() -> None:
    task = asyncio.create_task(save(), name="saver")  # BUG
    await asyncio.sleep(0.05)
    print("saved" if task.done() else "not yet")


asyncio.run(main())
