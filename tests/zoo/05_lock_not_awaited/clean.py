import asyncio


async def main() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    print("locked:", lock.locked())
    await asyncio.sleep(0)
    lock.release()


asyncio.run(main())
