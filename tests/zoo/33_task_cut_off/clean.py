import asyncio


async def upload() -> None:
    await asyncio.sleep(0.5)
    print("uploaded")


async def main() -> None:
    task = asyncio.create_task(upload(), name="upload")
    await asyncio.sleep(0.01)
    await task
    print("done", task.done())


asyncio.run(main())
