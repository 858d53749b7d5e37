# code: exception-lost
# tasks: second
# cure: TaskGroup
"""Of two failures in a gather, the second is never seen."""
import asyncio


async def fail(seconds: float, text: str) -> None:
    await asyncio.sleep(seconds)
    raise ValueError(text)  # BUG


async def main() -> None:
    tasks = [
        asyncio.create_task(fail(0.01, "one"), name="first"),
        asyncio.create_task(fail(0.03, "two"), name="second"),
    ]
    try:
        await asyncio.gather(*tasks)
    except ValueError as error:
        print("failed:", error)
    await asyncio.sleep(0.05)


asyncio.run(main())
