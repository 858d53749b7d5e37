# code: cancellation-swallowed
# tasks: reader
# cure: raise
"""Code inside of a timeout swallows the timeout's cancellation."""
import asyncio


async def read_all() -> int:
    count = 0
    async with asyncio.timeout(0.03):
        while count < 5:
            try:
                await asyncio.sleep(0.02)
                count += 1
            except asyncio.CancelledError:  # BUG
                count += 100
                await asyncio.sleep(0.02)
    return count


async def main() -> None:
    task = asyncio.create_task(read_all(), name="reader")
    await asyncio.wait([task])
    print(task)


asyncio.run(main())
