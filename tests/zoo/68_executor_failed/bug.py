# code: never-retrieved
# text: disk is full
# cure: Await
"""A call in a thread fails, and its future was never awaited."""
import asyncio


def write() -> None:
    raise OSError("disk is full")  # BUG


async def main() -> None:
    asyncio.get_running_loop().run_in_executor(None, write)
    await asyncio.sleep(0.05)


asyncio.run(main())
