"""`suppress(CancelledError)` where the cancelled task is awaited."""
import asyncio
import contextlib


async def beat() -> None:
    for _ in range(3):
        await asyncio.sleep(0.03)
        print("beat")


async def main() -> None:
    heart = asyncio.create_task(beat(), name="heart")
    await asyncio.sleep(0.01)
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart


asyncio.run(main())
