import asyncio

tasks: set[asyncio.Task] = set()


async def handle(number: int) -> None:
    await asyncio.sleep(0.01)


async def main() -> None:
    for number in range(2000):
        task = asyncio.create_task(handle(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if len(tasks) >= 100:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*tasks)


asyncio.run(main())
