import asyncio


async def poll() -> None:
    for _ in range(3):
        await asyncio.sleep(0.15)


async def main() -> None:
    await asyncio.create_task(poll(), name="poller")


asyncio.run(main())
