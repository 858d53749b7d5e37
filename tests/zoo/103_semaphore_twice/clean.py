"""Only around the request itself."""
import asyncio


async def crawl(limit: asyncio.Semaphore, depth: int) -> None:
    async with limit:
        await asyncio.sleep(0.01)
    if depth:
        await crawl(limit, depth - 1)


async def main() -> None:
    limit = asyncio.Semaphore(2)
    task = asyncio.create_task(crawl(limit, 3), name="crawler")
    done, pending = await asyncio.wait([task], timeout=0.3)
    print(len(done))


asyncio.run(main())
