# code: loop-blocked, never-yields
# tasks: adder
# cure: sleep(0)
"""A sum over many numbers without a pause."""
import asyncio


async def add(most: int) -> int:
    total = 0
    for number in range(most):
        total += number * number  # BUG
    return total


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(add(8_000_000), name="adder")
        group.create_task(asyncio.sleep(0.01), name="ticker")


asyncio.run(main())
