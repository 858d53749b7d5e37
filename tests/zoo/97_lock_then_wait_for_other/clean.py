"""It awaits it after the lock."""
import asyncio


async def child(lock: asyncio.Lock) -> None:
    async with lock:
        print("child")


async def parent(lock: asyncio.Lock) -> None:
    async with lock:
        task = asyncio.create_task(child(lock), name="child")
    await task


async def main() -> None:
    lock = asyncio.Lock()
    await asyncio.wait_for(asyncio.create_task(parent(lock), name="parent"), 0.3)


asyncio.run(main())
