"""A generator that has nothing to clean up may be left."""
import asyncio
from collections.abc import AsyncIterator


async def numbers() -> AsyncIterator[int]:
    number = 0
    while True:
        await asyncio.sleep(0)
        number += 1
        yield number


async def main() -> None:
    async for number in numbers():
        if number == 3:
            break
    print(number)


asyncio.run(main())
