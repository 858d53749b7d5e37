import asyncio
import time


def tick() -> None:
    time.sleep(0.2)


async def main() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.01)
    await loop.run_in_executor(None, tick)


asyncio.run(main())
