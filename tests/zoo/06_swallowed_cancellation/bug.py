# code: cancellation-swallowed
# tasks: worker
# cure: raise
"""A worker catches its own cancellation and goes on."""
import asyncio


async def worker() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(0.05)
        except BaseException:  # BUG
            print("ignored")


async def main() -> None:
    task = asyncio.create_task(worker(), name="worker")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
