# code: waits-forever
# tasks: runner
# cure: barrier
"""The barrier waits for more tasks than there are."""
import asyncio


async def run(barrier: asyncio.Barrier) -> None:
    await asyncio.sleep(0.01)
    await barrier.wait()  # BUG


async def main() -> None:
    barrier = asyncio.Barrier(3)
    runners = [asyncio.create_task(run(barrier), name=f"runner-{n}") for n in range(2)]
    try:
        await asyncio.wait_for(asyncio.gather(*runners), 0.3)
    except TimeoutError:
        print("nobody crossed")


asyncio.run(main())
