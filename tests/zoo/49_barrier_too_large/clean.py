"""As many as there are tasks."""
import asyncio


async def run(barrier: asyncio.Barrier) -> None:
    await asyncio.sleep(0.01)
    await barrier.wait()


async def main() -> None:
    barrier = asyncio.Barrier(2)
    runners = [asyncio.create_task(run(barrier), name=f"runner-{n}") for n in range(2)]
    await asyncio.wait_for(asyncio.gather(*runners), 0.3)
    print("crossed")


asyncio.run(main())
