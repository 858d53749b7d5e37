# code: cancellation-swallowed
# tasks: heart
# cure: suppress
"""`suppress(CancelledError)` inside of the task that is cancelled."""
import asyncio
import contextlib


async def beat() -> None:
    for _ in range(3):
        with contextlib.suppress(asyncio.CancelledError):  # BUG
            await asyncio.sleep(0.03)
        print("beat")


async def main() -> None:
    heart = asyncio.create_task(beat(), name="heart")
    await asyncio.sleep(0.01)
    heart.cancel()
    await asyncio.wait([heart])


asyncio.run(main())
