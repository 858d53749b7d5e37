import asyncio


async def save() -> None:
    await asyncio.sleep(0.01)
    raise OSError("disk full")


async def main() -> None:
    task = asyncio.create_task(save(), name="saver")
    try:
        await task
    except OSError as error:
        print("failed:", error)


asyncio.run(main())
