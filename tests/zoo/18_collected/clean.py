import asyncio
import gc


class Job:
    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await self.done
        print("printed")


async def main() -> None:
    job = Job()
    task = asyncio.create_task(job.run(), name="background")
    await asyncio.sleep(0.01)
    gc.collect()
    job.done.set_result(None)
    await task


asyncio.run(main())
