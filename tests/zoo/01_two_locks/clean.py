import asyncio


async def transfer(first: asyncio.Lock, second: asyncio.Lock) -> None:
    async with first:
        await asyncio.sleep(0.01)
        async with second:
            pass


async def main() -> None:
    a, b = asyncio.Lock(), asyncio.Lock()
    tasks = [
        asyncio.create_task(transfer(a, b), name="transfer-a"),
        asyncio.create_task(transfer(a, b), name="transfer-b"),
    ]
    await asyncio.wait(tasks, timeout=0.3)


asyncio.run(main())
