"""The others are cancelled and awaited."""
import asyncio


async def fetch(number: int) -> int:
    await asyncio.sleep(0.01 * (number + 1))
    if number == 1:
        raise OSError("mirror is down")
    return number


async def main() -> None:
    tasks = []
    for number in range(2):
        tasks.append(asyncio.create_task(fetch(number), name=f"mirror-{number}"))
    for first in asyncio.as_completed(tasks):
        print(await first)
        break
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.05)


asyncio.run(main())
