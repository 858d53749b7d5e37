import asyncio


async def fail(seconds: float, text: str) -> None:
    await asyncio.sleep(seconds)
    raise ValueError(text)


async def main() -> None:
    tasks = [
        asyncio.create_task(fail(0.01, "one"), name="first"),
        asyncio.create_task(fail(0.03, "two"), name="second"),
    ]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, ValueError):
            print("failed:", result)
    await asyncio.sleep(0.05)


asyncio.run(main())
