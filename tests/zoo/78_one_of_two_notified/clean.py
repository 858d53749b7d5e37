"""`notify_all()`."""
import asyncio


async def wait(changed: asyncio.Condition) -> None:
    async with changed:
        await changed.wait()


async def main() -> None:
    changed = asyncio.Condition()
    waiters = [asyncio.create_task(wait(changed), name=f"waiter-{n}") for n in range(2)]
    await asyncio.sleep(0.01)
    async with changed:
        changed.notify_all()
    done, pending = await asyncio.wait(waiters, timeout=0.3)
    print(len(done), len(pending))


asyncio.run(main())
