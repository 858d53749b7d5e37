# code: never-retrieved
# tasks: mirror-1
# cure: TaskGroup
"""Only the first of `as_completed` is awaited; a later one fails unseen."""
import asyncio


async def fetch(number: int) -> int:
    await asyncio.sleep(0.01 * (number + 1))
    if number == 1:
        raise OSError("mirror is down")
    return number


async def main() -> None:
    tasks = []
    for number in range(2):
        tasks.append(asyncio.create_task(fetch(number), name=f"mirror-{number}"))  # BUG
    for first in asyncio.as_completed(tasks):
        print(await first)
        break
    await asyncio.sleep(0.05)


asyncio.run(main())
