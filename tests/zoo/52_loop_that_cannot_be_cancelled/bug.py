# code: cancellation-swallowed
# tasks: consumer
# cure: raise
"""`except asyncio.CancelledError: pass` around one item of an endless loop."""
import asyncio


async def consume(queue: asyncio.Queue[int | None]) -> None:
    while True:
        try:
            item = await queue.get()
        except asyncio.CancelledError:  # BUG
            continue
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
    if not task.done():
        await queue.put(None)
    await task


asyncio.run(main())
