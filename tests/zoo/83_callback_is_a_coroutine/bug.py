# code: never-awaited
# text: refresh
# cure: create_task
"""A coroutine function is given to `call_later`."""
import asyncio


async def refresh() -> None:
    print("refreshed")


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, lambda: refresh())  # BUG
    await asyncio.sleep(0.03)


asyncio.run(main())
