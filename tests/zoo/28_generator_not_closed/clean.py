import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing


async def rows() -> AsyncIterator[int]:
    try:
        for number in range(10):
            await asyncio.sleep(0)
            yield number
    finally:
        print("connection given back")


async def main() -> None:
    async with aclosing(rows()) as found:
        async for row in found:
            if row == 2:
                break
    print("going on")
    await asyncio.sleep(0.01)


asyncio.run(main())
