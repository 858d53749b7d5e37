# code: never-awaited
# tasks: Task-1
# cure: await
"""`lock.acquire()` without `await` doesn't take the lock."""
import asyncio


async def main() -> None:
    lock = asyncio.Lock()
    taken = lock.acquire()  # BUG
    print("locked:", lock.locked())
    await asyncio.sleep(0)
    del taken


asyncio.run(main())
