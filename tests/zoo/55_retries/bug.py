# code: cancellation-swallowed
# tasks: fetcher
# cure: raise
"""A retry helper with a bare `except:` tries again when it is cancelled."""
import asyncio
from collections.abc import Awaitable, Callable


async def retry(call: Callable[[], Awaitable[str]], times: int) -> str:
    for _ in range(times):
        try:
            return await call()
        except:  # BUG
            await asyncio.sleep(0.01)
    return "nothing"


async def fetch() -> str:
    await asyncio.sleep(0.05)
    return "page"


async def main() -> None:
    task = asyncio.create_task(retry(fetch, 3), name="fetcher")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    print(task)


asyncio.run(main())
