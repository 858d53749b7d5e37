# code: tasks-pile-up
# tasks: Task-1
# cure: TaskGroup
"""Tasks are started faster than they end, and nobody keeps or awaits them."""
import asyncio


async def log(number: int) -> None:
    await asyncio.sleep(0.3)


async def main() -> None:
    for number in range(300):
        asyncio.create_task(log(number))  # BUG
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.4)


asyncio.run(main())
