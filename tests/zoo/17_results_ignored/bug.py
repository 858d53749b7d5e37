# code: exceptions-ignored
# tasks: second
# cure: return_exceptions
"""`return_exceptions=True`, and nobody looks at the results."""
import asyncio


async def work(number: int) -> int:
    await asyncio.sleep(0.01)
    return 10 // number


async def main() -> None:
    tasks = [
        asyncio.create_task(work(1), name="first"),
        asyncio.create_task(work(0), name="second"),
    ]
    await asyncio.gather(*tasks, return_exceptions=True)  # BUG
    print("all done")


asyncio.run(main())
