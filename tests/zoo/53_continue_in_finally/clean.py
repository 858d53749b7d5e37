"""What ends the loop is the exception itself."""
import asyncio


async def poll() -> str:
    tries = 0
    while True:
        try:
            await asyncio.sleep(1)
        finally:
            tries += 1
            await asyncio.sleep(0.02)


async def main() -> None:
    task = asyncio.create_task(poll(), name="poller")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    print(task.cancelled())


asyncio.run(main())
