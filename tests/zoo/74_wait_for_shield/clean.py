"""It waits for the work in the end."""
import asyncio


async def commit() -> None:
    await asyncio.sleep(0.2)
    print("committed")


async def request() -> str:
    task = asyncio.create_task(commit(), name="commit")
    try:
        await asyncio.wait_for(asyncio.shield(task), 0.05)
    except TimeoutError:
        print("this takes a while")
        await task
    return "done"


async def main() -> None:
    print(await asyncio.create_task(request(), name="request"))


asyncio.run(main())
