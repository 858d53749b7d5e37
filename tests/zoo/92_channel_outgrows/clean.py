"""A finite one."""
import segue


async def sense(channel: segue.MemorySendChannel[int]) -> None:
    async with channel:
        for number in range(1000):
            await channel.send(number)


async def store(channel: segue.MemoryReceiveChannel[int]) -> None:
    async for number in channel:
        if number % 10 == 0:
            await segue.sleep(0.001)


async def main() -> None:
    sending, receiving = segue.open_memory_channel[int](10)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(sense, sending, name="sensor")
        nursery.start_soon(store, receiving, name="store")


segue.run(main())
