# code: blocking-call
# text: crunch
# cure: sleep
"""A task of anyio sleeps as threads do."""
import time

import anyio


async def crunch() -> None:
    time.sleep(0.15)  # BUG


async def main() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(crunch, name="crunch")


anyio.run(main)
