"""The server's failure ends the group."""
import asyncio


async def serve(started: asyncio.Event) -> None:
    await asyncio.sleep(0.01)
    raise OSError("port is taken")
    started.set()


async def use(started: asyncio.Event) -> None:
    await started.wait()
    print("connected")


async def main() -> None:
    started = asyncio.Event()
    try:
        async with asyncio.timeout(0.3), asyncio.TaskGroup() as group:
            group.create_task(serve(started), name="server")
            group.create_task(use(started), name="client")
    except* OSError as failed:
        print(failed.exceptions)


asyncio.run(main())
