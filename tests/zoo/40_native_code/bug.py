# code: blocked-by-native-code
# tasks: searcher
# cure: ProcessPoolExecutor
# place: none
"""Native code holds the GIL: not even another thread can see which line it is, and none is guessed."""
import asyncio
import re


async def search() -> None:
    await asyncio.sleep(0)
    re.match(r"(a+)+$", "a" * 26 + "b")  # BUG


async def main() -> None:
    await asyncio.create_task(search(), name="searcher")


asyncio.run(main())
