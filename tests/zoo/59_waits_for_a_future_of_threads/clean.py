"""`run_in_executor`."""
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def compute() -> int:
    time.sleep(0.25)
    return 42


async def call(pool: ThreadPoolExecutor) -> int:
    return await asyncio.get_running_loop().run_in_executor(pool, compute)


async def main() -> None:
    with ThreadPoolExecutor(1) as pool:
        print(await asyncio.create_task(call(pool), name="caller"))


asyncio.run(main())
