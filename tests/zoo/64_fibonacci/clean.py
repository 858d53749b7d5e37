"""In pieces."""
import asyncio
import time


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


async def busy(seconds: float) -> int:
    end = time.monotonic() + seconds
    result = 0
    while time.monotonic() < end:
        result = fibonacci(15)
        await asyncio.sleep(0)
    return result


async def count() -> None:
    print(await busy(0.5))


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(count(), name="counter")
        group.create_task(asyncio.sleep(0.01), name="ticker")


asyncio.run(main())
