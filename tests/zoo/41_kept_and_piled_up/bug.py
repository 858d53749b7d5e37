# code: tasks-pile-up
# tasks: Task-1
# cure: Semaphore
"""References are kept, as the manual says, but nothing limits how many tasks there are."""
import asyncio

tasks: set[asyncio.Task] = set()


async def handle(number: int) -> None:
    await asyncio.sleep(1)


async def main() -> None:
    for number in range(2000):
        task = asyncio.create_task(handle(number))  # BUG
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number % 10 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(1.2)


asyncio.run(main())
