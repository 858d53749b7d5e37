# code: never-released
# tasks: job-1
# cure: async with
"""On the way of an error a semaphore isn't released."""
import asyncio


async def job(slots: asyncio.Semaphore, number: int) -> None:
    await slots.acquire()  # BUG
    await asyncio.sleep(0.01)
    if number == 1:
        raise ValueError(number)
    slots.release()


async def main() -> None:
    slots = asyncio.Semaphore(1)
    tasks = [asyncio.create_task(job(slots, number), name=f"job-{number}") for number in range(3)]
    done, pending = await asyncio.wait(tasks, timeout=0.3)
    for task in done:
        print(task.get_name(), task.exception())
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)


asyncio.run(main())
