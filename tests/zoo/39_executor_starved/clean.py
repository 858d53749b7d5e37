import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def slow() -> None:
    time.sleep(0.7)


def quick() -> str:
    return "answer"


async def main() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=4) as slow_calls:
        calls = [loop.run_in_executor(slow_calls, slow) for _ in range(4)]
        await asyncio.sleep(0.01)
        print(await asyncio.to_thread(quick))
        await asyncio.gather(*calls)


asyncio.run(main())
