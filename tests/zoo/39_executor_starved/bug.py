# code: executor-starved
# cure: executor of their own
# text: quick
"""Long calls take all threads of the pool, and a quick one waits behind them."""
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def slow() -> None:
    time.sleep(0.7)


def quick() -> str:
    return "answer"


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=2))
    calls = [asyncio.create_task(asyncio.to_thread(slow)) for _ in range(4)]
    await asyncio.sleep(0.01)
    print(await asyncio.to_thread(quick))  # BUG
    await asyncio.gather(*calls)


asyncio.run(main())
