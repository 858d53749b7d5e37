import asyncio


async def fetch() -> str:
    try:
        await asyncio.sleep(10)
        return "page"
    except asyncio.CancelledError:
        print("nothing")
        raise


async def main() -> None:
    task = asyncio.create_task(fetch(), name="fetch")
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        print(await task)
    except asyncio.CancelledError:
        print("cancelled")


asyncio.run(main())
