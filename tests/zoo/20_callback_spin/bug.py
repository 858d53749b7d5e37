# code: spins
# text: tick
# cure: Wait
"""A callback schedules itself again and again."""
import asyncio


class Clock:
    def __init__(self) -> None:
        self.ticks = 0
        self.runs = True

    def tick(self) -> None:  # BUG
        self.ticks += 1
        if self.runs:
            asyncio.get_running_loop().call_soon(self.tick)


async def main() -> None:
    clock = Clock()
    clock.tick()
    await asyncio.sleep(1)
    clock.runs = False


asyncio.run(main())
