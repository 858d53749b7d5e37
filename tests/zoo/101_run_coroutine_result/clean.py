"""Awaited."""
import asyncio


async def answer() -> int:
    return 42


async def call() -> None:
    print(await answer())


async def main() -> None:
    await asyncio.create_task(call(), name="caller")
    await asyncio.sleep(0.02)


asyncio.run(main())
