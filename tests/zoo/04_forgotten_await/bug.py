# code: never-awaited
# tasks: Task-1
# cure: await
"""A coroutine is called, and `await` forgotten."""
import asyncio


async def save(record: str) -> None:
    await asyncio.sleep(0.01)
    print("saved", record)


async def main() -> None:
    save("a")  # BUG
    await save("b")


asyncio.run(main())
