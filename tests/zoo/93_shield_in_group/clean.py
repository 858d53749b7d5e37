"""The one that is cancelled waits for the save."""
import asyncio


async def save() -> None:
    await asyncio.sleep(0.1)
    print("saved")


async def autosave() -> None:
    task = asyncio.create_task(save(), name="saver")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def fail() -> None:
    await asyncio.sleep(0.02)
    raise ValueError("no")


async def main() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(autosave(), name="autosave")
            group.create_task(fail(), name="failing")
    except* ValueError:
        print("the group has ended")


asyncio.run(main())
