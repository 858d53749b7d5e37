# code: loop-blocked, blocking-call
# tasks: caller
# cure: wrap_future
"""`future.result()` of a thread pool on the loop."""
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


def compute() -> int:
    time.sleep(0.25)
    return 42


async def call(pool: ThreadPoolExecutor) -> int:
    future = pool.submit(compute)
    return future.result()  # BUG


async def main() -> None:
    with ThreadPoolExecutor(1) as pool:
        print(await asyncio.create_task(call(pool), name="caller"))


asyncio.run(main())
