# code: task-destroyed
# tasks: background
# cure: reference
"""A task that nobody keeps is collected while it waits."""
import asyncio
import gc


class Job:
    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await self.done
        print("never printed")


def start() -> None:
    asyncio.create_task(Job().run(), name="background")  # BUG


async def main() -> None:
    start()
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0.01)


asyncio.run(main())
