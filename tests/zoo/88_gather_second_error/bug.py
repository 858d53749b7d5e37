# code: exception-lost, never-retrieved
# tasks: second
# cure: TaskGroup
"""gather raises the first error; the second is lost."""
import asyncio


async def fail(after: float) -> None:
    await asyncio.sleep(after)
    raise RuntimeError(f"after {after}")  # BUG


async def main() -> None:
    first = asyncio.create_task(fail(0.01), name="first")
    second = asyncio.create_task(fail(0.03), name="second")
    try:
        await asyncio.gather(first, second)
    except RuntimeError as e:
        print("got", e)
    await asyncio.sleep(0.05)


asyncio.run(main())
