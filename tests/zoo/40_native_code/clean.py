import asyncio
import re


async def search() -> None:
    await asyncio.sleep(0)
    re.match(r"a+$", "a" * 26 + "b")


async def main() -> None:
    await asyncio.create_task(search(), name="searcher")


asyncio.run(main())
