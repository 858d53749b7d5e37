"""asyncio waits for it."""
import asyncio
import sys


async def run() -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(0.3)")
    return await process.wait()


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(run(), name="runner")
        group.create_task(asyncio.sleep(0.05), name="ticker")


asyncio.run(main())
