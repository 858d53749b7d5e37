# code: lock-held-long
# tasks: refresher
# cure: before taking the lock
"""A lock is held while something slow is awaited, and everybody queues up."""
import asyncio

cache: dict[str, int] = {}


async def refresh(lock: asyncio.Lock) -> None:
    async with lock:
        await asyncio.sleep(1.2)  # BUG
        cache["value"] = 1


async def read(lock: asyncio.Lock) -> int:
    async with lock:
        return cache.get("value", 0)


async def main() -> None:
    lock = asyncio.Lock()
    refresher = asyncio.create_task(refresh(lock), name="refresher")
    await asyncio.sleep(0.01)
    print(await read(lock))
    await refresher


asyncio.run(main())
