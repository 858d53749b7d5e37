# code: waits-forever
# tasks: client
# cure: set()
"""The server fails before it sets the event that says it has started."""
import asyncio


async def serve(started: asyncio.Event) -> None:
    try:
        await asyncio.sleep(0.01)
        raise OSError("port is taken")
        started.set()
    except OSError as e:
        print(e)


async def use(started: asyncio.Event) -> None:
    await started.wait()  # BUG
    print("connected")


async def main() -> None:
    started = asyncio.Event()
    try:
        async with asyncio.timeout(0.3), asyncio.TaskGroup() as group:
            group.create_task(serve(started), name="server")
            group.create_task(use(started), name="client")
    except TimeoutError:
        print("gave up")


asyncio.run(main())
