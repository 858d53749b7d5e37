# code: deadlock
# tasks: left, right
# cure: order
"""Two tasks await each other's end."""
import asyncio

tasks: dict[str, asyncio.Task] = {}


async def half(other: str) -> str:
    await asyncio.sleep(0)
    await tasks[other]  # BUG
    return other


async def main() -> None:
    tasks["left"] = asyncio.create_task(half("right"), name="left")
    tasks["right"] = asyncio.create_task(half("left"), name="right")
    await asyncio.sleep(0.2)


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
