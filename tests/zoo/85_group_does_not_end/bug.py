# code: cancellation-swallowed
# tasks: poller
# cure: raise
"""In a TaskGroup that fails, one task catches its cancellation and goes on for a while."""
import asyncio


async def fail() -> None:
    await asyncio.sleep(0.02)
    raise ValueError("no")


async def poll() -> None:
    for _ in range(4):
        try:
            await asyncio.sleep(0.05)
        except (asyncio.CancelledError, OSError) as e:  # BUG
            print("error while polling:", type(e).__name__)


async def main() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(poll(), name="poller")
            group.create_task(fail(), name="failing")
    except* ValueError as e:
        print(e.exceptions)


asyncio.run(main())
