# code: task-cut-off
# tasks: upload
# cure: Await it
"""The program ends while a task that nobody awaited is still at work."""
import asyncio


async def upload() -> None:
    await asyncio.sleep(0.5)
    print("uploaded")


async def main() -> None:
    task = asyncio.create_task(upload(), name="upload")  # BUG
    await asyncio.sleep(0.01)
    print("done", task.done())


asyncio.run(main())
