import asyncio


async def log(number: int) -> None:
    await asyncio.sleep(0.3)


async def main() -> None:
    slots = asyncio.Semaphore(50)

    async def one(number: int) -> None:
        async with slots:
            await log(number)

    async with asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(one(number))


asyncio.run(main())
