"""A task is started there."""
import asyncio

tasks: set[asyncio.Task[None]] = set()


async def refresh() -> None:
    print("refreshed")


def start() -> None:
    task = asyncio.create_task(refresh())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, start)
    await asyncio.sleep(0.03)


asyncio.run(main())
