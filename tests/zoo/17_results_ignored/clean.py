import asyncio


async def work(number: int) -> int:
    await asyncio.sleep(0.01)
    return 10 // number


async def main() -> None:
    tasks = [
        asyncio.create_task(work(1), name="first"),
        asyncio.create_task(work(0), name="second"),
    ]
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            print("failed:", result)
    print("all done")


asyncio.run(main())
