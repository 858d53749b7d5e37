# code: generator-not-closed
# text: lines
# cure: aclosing
"""Only the first item of a generator is taken."""
import asyncio
from collections.abc import AsyncIterator


async def lines() -> AsyncIterator[str]:
    print("open")
    try:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"line {number}"
    finally:
        print("close")


async def main() -> None:
    generator = lines()
    print(await anext(generator))  # BUG
    await asyncio.sleep(0.01)


asyncio.run(main())
