"""All are looked at."""
import asyncio


async def job(number: int) -> None:
    await asyncio.sleep(number / 10)
    raise ValueError(number)


async def main() -> None:
    tasks = [
        asyncio.create_task(job(number), name=f"job-{number}")
        for number in (1, 2)
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    await asyncio.wait(tasks)
    print([task.exception() for task in tasks])


asyncio.run(main())
