"""asyncio's own."""
import asyncio
import sys
from asyncio.subprocess import PIPE


async def version_of(tool: str) -> str:
    command = [tool, "-c", "import time; time.sleep(0.2); print(1)"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def build() -> None:
    print((await version_of(sys.executable)).strip())


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(build(), name="builder")
        group.create_task(asyncio.sleep(0.05), name="ticker")


asyncio.run(main())
