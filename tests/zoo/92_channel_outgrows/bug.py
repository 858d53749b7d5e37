# code: queue-grows
# tasks: sensor
# cure: bound
"""A memory channel of infinite size whose receiver is slower."""
import math

import segue


async def sense(channel: segue.MemorySendChannel[int]) -> None:
    async with channel:
        for number in range(1000):
            await channel.send(number)  # BUG


async def store(channel: segue.MemoryReceiveChannel[int]) -> None:
    async for number in channel:
        if number % 10 == 0:
            await segue.sleep(0.001)


async def main() -> None:
    sending, receiving = segue.open_memory_channel[int](math.inf)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(sense, sending, name="sensor")
        nursery.start_soon(store, receiving, name="store")


segue.run(main())
