# code: blocking-call, loop-blocked
# tasks: builder
# cure: create_subprocess
"""`subprocess.check_output` in a library-like helper, called by a coroutine."""
import asyncio
import subprocess
import sys


def version_of(tool: str) -> str:
    return subprocess.check_output([tool, "-c", "import time; time.sleep(0.2); print(1)"], text=True)  # BUG


async def build() -> None:
    print(version_of(sys.executable).strip())


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(build(), name="builder")
        group.create_task(asyncio.sleep(0.05), name="ticker")


asyncio.run(main())
