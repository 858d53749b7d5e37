import asyncio


async def second() -> None:
    await asyncio.sleep(0.01)
    raise ValueError("in second")


async def main() -> None:
    try:
        await asyncio.gather(asyncio.sleep(0.02), second())
    except ValueError as error:
        print(error)
    await asyncio.sleep(0.1)


asyncio.run(main())
