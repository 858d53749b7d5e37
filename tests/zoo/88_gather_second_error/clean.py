"""A TaskGroup has both."""
import asyncio


async def fail(after: float) -> None:
    await asyncio.sleep(after)
    raise RuntimeError(f"after {after}")


async def main() -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(0.01), name="first")
            group.create_task(fail(0.01), name="second")
    except* RuntimeError as e:
        print("got", e.exceptions)
    await asyncio.sleep(0.05)


asyncio.run(main())
