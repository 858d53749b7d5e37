# code: exceptions-ignored
# tasks: ping-b
# cure: result
"""`_ = await gather(..., return_exceptions=True)`."""
import asyncio


async def ping(host: str) -> None:
    await asyncio.sleep(0.01)
    if host == "b":
        raise ConnectionError(host)


async def check() -> None:
    tasks = []
    for host in "abc":
        tasks.append(asyncio.create_task(ping(host), name=f"ping-{host}"))
    _ = await asyncio.gather(*tasks, return_exceptions=True)  # BUG
    print("checked")


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(check())


asyncio.run(main())
