# code: exceptions-ignored
# tasks: part-2
# cure: results
"""The results of a gather are counted; that one is an exception nobody notices."""
import asyncio


async def part(number: int) -> int:
    await asyncio.sleep(0)
    return 10 // (number - 2)


async def main() -> None:
    tasks = [asyncio.create_task(part(number), name=f"part-{number}") for number in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)  # BUG
    print(len(results), "parts")


asyncio.run(main())
