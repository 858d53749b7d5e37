"""It is closed."""
import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing


async def lines() -> AsyncIterator[str]:
    print("open")
    try:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"line {number}"
    finally:
        print("close")


async def main() -> None:
    async with aclosing(lines()) as generator:
        print(await anext(generator))
    await asyncio.sleep(0.01)


asyncio.run(main())
