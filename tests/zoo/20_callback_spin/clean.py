import asyncio


class Clock:
    def __init__(self) -> None:
        self.ticks = 0
        self.runs = True

    def tick(self) -> None:
        self.ticks += 1
        if self.runs:
            asyncio.get_running_loop().call_later(0.05, self.tick)


async def main() -> None:
    clock = Clock()
    clock.tick()
    await asyncio.sleep(1)
    clock.runs = False
    await asyncio.sleep(0.1)


asyncio.run(main())
