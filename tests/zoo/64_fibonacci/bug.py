# code: loop-blocked, never-yields
# tasks: counter
# cure: to_thread
"""A recursive function computes on the loop."""
import asyncio


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)  # BUG


async def count() -> None:
    print(fibonacci(31))


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(count(), name="counter")
        group.create_task(asyncio.sleep(0.01), name="ticker")


asyncio.run(main())
