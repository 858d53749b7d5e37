import asyncio


async def watch(ready: asyncio.Event) -> None:
    await ready.wait()
    print("ready")


async def main() -> None:
    ready = asyncio.Event()
    task = asyncio.create_task(watch(ready), name="watcher")
    await asyncio.sleep(1)
    ready.set()
    await task


asyncio.run(main())
