import asyncio


async def job(slots: asyncio.Semaphore, number: int) -> None:
    async with slots:
        await asyncio.sleep(0.01)
        if number == 1:
            raise ValueError(number)


async def main() -> None:
    slots = asyncio.Semaphore(1)
    tasks = [asyncio.create_task(job(slots, number), name=f"job-{number}") for number in range(3)]
    done, pending = await asyncio.wait(tasks, timeout=0.3)
    for task in done:
        print(task.get_name(), task.exception())


asyncio.run(main())
