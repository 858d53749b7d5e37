"""A pause after every hundred."""
import asyncio


async def add(most: int) -> int:
    total = 0
    for number in range(most):
        total += number * number
        if number % 100 == 0:
            await asyncio.sleep(0)
    return total


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(add(2_000_000), name="adder")
        group.create_task(asyncio.sleep(0.01), name="ticker")


asyncio.run(main())
