"""Cancelled tasks are gathered, so that nothing is lost: cancellations are no errors."""
import asyncio


async def ping(host: str) -> None:
    await asyncio.sleep(1)


async def check() -> None:
    tasks = []
    for host in "abc":
        tasks.append(asyncio.create_task(ping(host), name=f"ping-{host}"))
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print("checked")


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(check())


asyncio.run(main())
