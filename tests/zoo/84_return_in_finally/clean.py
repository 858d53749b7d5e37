"""After it."""
import asyncio


async def report() -> str:
    status = "unknown"
    try:
        await asyncio.sleep(1)
        status = "fine"
    finally:
        print(status)
    return status


async def main() -> None:
    task = asyncio.create_task(report(), name="report")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    print(task.cancelled())


asyncio.run(main())
