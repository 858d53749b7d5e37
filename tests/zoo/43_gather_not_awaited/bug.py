# code: never-retrieved
# text: second
# cure: Await
"""A gather is started and not awaited; what it raises reaches nobody."""
import asyncio


async def second() -> None:
    await asyncio.sleep(0.01)
    raise ValueError("in second")  # BUG


async def main() -> None:
    asyncio.gather(asyncio.sleep(0.02), second())
    await asyncio.sleep(0.1)


asyncio.run(main())
