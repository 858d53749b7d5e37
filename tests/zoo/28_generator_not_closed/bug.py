# code: generator-not-closed
# text: rows
# cure: aclosing
"""A loop over an asynchronous generator is left; its `finally` runs some time later."""
import asyncio
from collections.abc import AsyncIterator


async def rows() -> AsyncIterator[int]:
    try:
        for number in range(10):
            await asyncio.sleep(0)
            yield number
    finally:
        print("connection given back")


async def main() -> None:
    async for row in rows():  # BUG
        if row == 2:
            break
    print("going on")
    await asyncio.sleep(0.01)


asyncio.run(main())
