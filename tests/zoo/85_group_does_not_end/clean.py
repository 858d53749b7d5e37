"""Only what it can handle."""
import asyncio


async def fail() -> None:
    await asyncio.sleep(0.02)
    raise ValueError("no")


async def poll() -> None:
    for _ in range(4):
        try:
            await asyncio.sleep(0.05)
        except OSError as e:
            print("error while polling:", type(e).__name__)


async def main() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(poll(), name="poller")
            group.create_task(fail(), name="failing")
    except* ValueError as e:
        print(e.exceptions)


asyncio.run(main())
