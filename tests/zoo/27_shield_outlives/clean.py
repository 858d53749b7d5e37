import asyncio


async def write() -> None:
    await asyncio.sleep(0.2)
    print("written")


async def handle() -> None:
    task = asyncio.create_task(write(), name="writer")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def main() -> None:
    handler = asyncio.create_task(handle(), name="handler")
    await asyncio.sleep(0.01)
    handler.cancel()
    await asyncio.wait([handler])
    await asyncio.sleep(0.3)


asyncio.run(main())
