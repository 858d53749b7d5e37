"""It is closed where the loop is left."""
import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing


async def pages() -> AsyncGenerator[str]:
    try:
        for page in ["1", "2", "x", "4"]:
            await asyncio.sleep(0)
            yield page
    finally:
        await asyncio.sleep(0)
        print("connection back")


async def total() -> int:
    result = 0
    async with aclosing(pages()) as all_pages:
        async for page in all_pages:
            result += int(page)
    return result


async def main() -> None:
    try:
        print(await asyncio.create_task(total(), name="adder"))
    except ValueError as e:
        print(e)
    await asyncio.sleep(0.01)


asyncio.run(main())
