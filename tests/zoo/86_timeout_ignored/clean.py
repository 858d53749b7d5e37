"""It doesn't."""
import asyncio


async def read_all() -> int:
    count = 0
    try:
        async with asyncio.timeout(0.03):
            while count < 5:
                await asyncio.sleep(0.02)
                count += 1
    except TimeoutError:
        print("too slow")
    return count


async def main() -> None:
    task = asyncio.create_task(read_all(), name="reader")
    await asyncio.wait([task])
    print(task)


asyncio.run(main())
