import asyncio


async def load(ready: asyncio.Event) -> None:
    try:
        int("no number")
    except ValueError:
        print("could not load")
    finally:
        ready.set()


async def use(ready: asyncio.Event) -> None:
    await ready.wait()
    print("used")


async def main() -> None:
    ready = asyncio.Event()
    waiter = asyncio.create_task(use(ready), name="waiter")
    await load(ready)
    try:
        await asyncio.wait_for(waiter, 0.3)
    except TimeoutError:
        print("gave up")


asyncio.run(main())
