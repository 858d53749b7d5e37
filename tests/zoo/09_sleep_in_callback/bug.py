# code: blocking-call
# cure: asyncio.sleep
"""A callback of the loop sleeps."""
import asyncio
import time


def tick() -> None:
    time.sleep(0.2)  # BUG


async def main() -> None:
    asyncio.get_running_loop().call_later(0.01, tick)
    await asyncio.sleep(0.3)


asyncio.run(main())
