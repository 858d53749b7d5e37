# code: outlives-owner
# tasks: commit
# cure: await
"""A time limit around a shield: the caller goes on, and the work too."""
import asyncio


async def commit() -> None:
    await asyncio.sleep(0.2)
    print("committed")


async def request() -> str:
    task = asyncio.create_task(commit(), name="commit")
    try:
        await asyncio.wait_for(asyncio.shield(task), 0.05)  # BUG
    except TimeoutError:
        return "too slow"
    return "done"


async def main() -> None:
    print(await asyncio.create_task(request(), name="request"))
    await asyncio.sleep(0.3)


asyncio.run(main())
