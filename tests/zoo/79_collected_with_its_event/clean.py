"""Who starts it keeps it, and ends it."""
import asyncio
import gc


async def listen() -> None:
    stopped = asyncio.Event()
    await stopped.wait()
    print("never")


async def main() -> None:
    task = asyncio.ensure_future(listen())
    task.set_name("listener")
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


asyncio.run(main())
