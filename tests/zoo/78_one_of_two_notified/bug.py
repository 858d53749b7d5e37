# code: lost-wake, waits-forever
# tasks: waiter-1
# cure: notify_all
"""`notify()` wakes one of two waiters; the other waits on."""
import asyncio


async def wait(changed: asyncio.Condition) -> None:
    async with changed:
        await changed.wait()  # BUG


async def main() -> None:
    changed = asyncio.Condition()
    waiters = [asyncio.create_task(wait(changed), name=f"waiter-{n}") for n in range(2)]
    await asyncio.sleep(0.01)
    async with changed:
        changed.notify()
    done, pending = await asyncio.wait(waiters, timeout=0.3)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    print(len(done), len(pending))


asyncio.run(main())
