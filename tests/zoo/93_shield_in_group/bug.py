# code: outlives-owner
# tasks: saver
# cure: await
"""A shielded save goes on when its group is cancelled and left."""
import asyncio


async def save() -> None:
    await asyncio.sleep(0.1)
    print("saved")


async def autosave(tasks: list[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(save(), name="saver")
    tasks.append(task)
    await asyncio.shield(task)  # BUG


async def fail() -> None:
    await asyncio.sleep(0.02)
    raise ValueError("no")


async def main() -> None:
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(autosave(tasks), name="autosave")
            group.create_task(fail(), name="failing")
    except* ValueError:
        print("the group has ended")
    await asyncio.sleep(0.2)


asyncio.run(main())
