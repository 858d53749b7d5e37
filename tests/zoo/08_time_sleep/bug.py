# code: blocking-call
# tasks: poller
# cure: asyncio.sleep
"""`time.sleep` in a coroutine stops every task."""
import asyncio
import time


async def poll() -> None:
    for _ in range(3):
        time.sleep(0.15)  # BUG
        await asyncio.sleep(0)


async def main() -> None:
    await asyncio.create_task(poll(), name="poller")


asyncio.run(main())
