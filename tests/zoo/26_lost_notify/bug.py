# code: lost-wake
# tasks: waiter
# cure: wait_for
"""The condition is notified before anybody waits for it."""
import asyncio

items: list[int] = []


async def put(condition: asyncio.Condition) -> None:
    async with condition:
        items.append(1)
        condition.notify()


async def take(condition: asyncio.Condition) -> int:
    await asyncio.sleep(0.02)
    async with condition:
        await condition.wait()  # BUG
        return items.pop()


async def main() -> None:
    condition = asyncio.Condition()
    waiter = asyncio.create_task(take(condition), name="waiter")
    await put(condition)
    try:
        async with asyncio.timeout(0.3):
            await waiter
    except TimeoutError:
        print("gave up")


asyncio.run(main())
