# code: deadlock
# tasks: waiter, setter
# cure: release the lock
"""Waiting for an event while holding the lock that whoever sets it needs."""
import asyncio


async def wait(lock: asyncio.Lock, ready: asyncio.Event) -> None:
    async with lock:
        await ready.wait()  # BUG


async def finish(lock: asyncio.Lock, ready: asyncio.Event) -> None:
    await asyncio.sleep(0.01)
    async with lock:
        ready.set()


async def main() -> None:
    lock, ready = asyncio.Lock(), asyncio.Event()
    try:
        async with asyncio.timeout(0.3):
            async with asyncio.TaskGroup() as group:
                group.create_task(wait(lock, ready), name="waiter")
                group.create_task(finish(lock, ready), name="setter")
    except TimeoutError:
        print("stuck")


asyncio.run(main())
