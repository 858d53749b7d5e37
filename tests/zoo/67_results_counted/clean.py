"""They are looked at."""
import asyncio


async def part(number: int) -> int:
    await asyncio.sleep(0)
    return 10 // (number - 2)


async def main() -> None:
    tasks = [asyncio.create_task(part(number), name=f"part-{number}") for number in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    print([result for result in results if isinstance(result, BaseException)])


asyncio.run(main())
