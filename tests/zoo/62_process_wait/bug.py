# code: loop-blocked, blocking-call
# tasks: runner
# cure: create_subprocess
"""`Popen.wait()` on the loop."""
import asyncio
import subprocess
import sys


async def run() -> int:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    return process.wait()  # BUG


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(run(), name="runner")
        group.create_task(asyncio.sleep(0.05), name="ticker")


asyncio.run(main())
