# code: cancellation-swallowed
# tasks: fetch
# cure: raise
"""A cancelled task returns as if nothing had happened: whoever cancelled it sees a result."""
import asyncio


async def fetch() -> str:
    try:
        await asyncio.sleep(10)
        return "page"
    except asyncio.CancelledError:  # BUG
        return "nothing"


async def main() -> None:
    task = asyncio.create_task(fetch(), name="fetch")
    await asyncio.sleep(0.01)
    task.cancel()
    print(await task)


asyncio.run(main())
