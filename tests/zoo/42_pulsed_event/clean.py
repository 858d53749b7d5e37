import asyncio


async def listen(changed: asyncio.Event) -> None:
    await asyncio.sleep(0.05)
    await changed.wait()
    changed.clear()
    print("changed")


async def main() -> None:
    changed = asyncio.Event()
    listener = asyncio.create_task(listen(changed), name="listener")
    await asyncio.sleep(0.01)
    changed.set()
    _, pending = await asyncio.wait({listener}, timeout=0.3)
    for task in pending:
        task.cancel()
    await asyncio.wait({listener})


asyncio.run(main())
