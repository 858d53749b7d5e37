# code: deadlock
# tasks: parent, child
# cure: same order
"""A task holds a lock and awaits a task that needs the same lock."""
import asyncio


async def child(lock: asyncio.Lock) -> None:
    async with lock:  # BUG
        print("child")


async def parent(lock: asyncio.Lock) -> None:
    async with lock:
        task = asyncio.create_task(child(lock), name="child")
        await task


async def main() -> None:
    lock = asyncio.Lock()
    try:
        await asyncio.wait_for(asyncio.create_task(parent(lock), name="parent"), 0.3)
    except TimeoutError:
        print("stuck")


asyncio.run(main())
