# code: generator-not-closed
# text: pages
# cure: aclosing
"""An error leaves a loop over a generator that holds a connection."""
import asyncio
from collections.abc import AsyncGenerator


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
    async for page in pages():  # BUG
        result += int(page)
    return result


async def main() -> None:
    try:
        print(await asyncio.create_task(total(), name="adder"))
    except ValueError as e:
        print(e)
    await asyncio.sleep(0.01)


asyncio.run(main())
