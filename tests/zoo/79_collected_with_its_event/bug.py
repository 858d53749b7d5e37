# code: task-destroyed
# tasks: listener
# cure: reference
"""A task waits for an event that only it knows: both are garbage."""
import asyncio
import gc


async def listen() -> None:
    stopped = asyncio.Event()
    await stopped.wait()
    print("never")


async def main() -> None:
    asyncio.ensure_future(listen()).set_name("listener")  # BUG
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0.01)


asyncio.run(main())
