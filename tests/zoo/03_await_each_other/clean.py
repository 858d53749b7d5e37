import asyncio

tasks: dict[str, asyncio.Task] = {}


async def half(other: str) -> str:
    await asyncio.sleep(0)
    if other in tasks:
        await tasks[other]
    return other


async def main() -> None:
    tasks["left"] = asyncio.create_task(half("right"), name="left")
    right = asyncio.create_task(half(""), name="right")
    tasks["right"] = right
    await asyncio.gather(*tasks.values())


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
