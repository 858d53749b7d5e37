import asyncio

cache: dict[str, int] = {}


async def refresh(lock: asyncio.Lock) -> None:
    await asyncio.sleep(1.2)
    async with lock:
        cache["value"] = 1


async def read(lock: asyncio.Lock) -> int:
    async with lock:
        return cache.get("value", 0)


async def main() -> None:
    lock = asyncio.Lock()
    refresher = asyncio.create_task(refresh(lock), name="refresher")
    await asyncio.sleep(0.01)
    print(await read(lock))
    await refresher


asyncio.run(main())
