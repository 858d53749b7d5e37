import time

import anyio
import anyio.to_thread


async def crunch() -> None:
    await anyio.to_thread.run_sync(time.sleep, 0.15)


async def main() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(crunch, name="crunch")


anyio.run(main)
