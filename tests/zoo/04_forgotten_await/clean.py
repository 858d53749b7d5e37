import asyncio


async def save(record: str) -> None:
    await asyncio.sleep(0.01)
    print("saved", record)


async def main() -> None:
    await save("a")
    await save("b")


asyncio.run(main())
