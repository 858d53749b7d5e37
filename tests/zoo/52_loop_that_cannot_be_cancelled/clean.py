"""The handler cleans up and raises again."""
import asyncio


async def consume(queue: asyncio.Queue[int | None]) -> None:
    while True:
        try:
            item = await queue.get()
        except asyncio.CancelledError:
            print("leaving")
            raise
        if item is None:
            return
        print(item)


async def main() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    task = asyncio.create_task(consume(queue), name="consumer")
    await queue.put(1)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled")


asyncio.run(main())
