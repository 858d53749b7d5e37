"""A reader over many items that lets others run after each."""
import asyncio


async def breathe() -> None:
    await asyncio.sleep(0)


async def check(items: list[int]) -> int:
    total = 0
    for item in items:
        total += item
        await breathe()
    return total


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(check(list(range(30_000))), name="checker")
        group.create_task(asyncio.sleep(0.02), name="ticker")


asyncio.run(main())
