# code: never-retrieved
# tasks: job-2
# cure: TaskGroup
"""`asyncio.wait` returns at the first failure; nobody looks at the second."""
import asyncio


async def job(number: int) -> None:
    await asyncio.sleep(number / 10)
    raise ValueError(number)


async def main() -> None:
    tasks = [
        asyncio.create_task(job(number), name=f"job-{number}")  # BUG
        for number in (1, 2)
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    print([task.exception() for task in done])
    await asyncio.sleep(0.2)


asyncio.run(main())
