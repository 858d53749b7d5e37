"""Somebody does."""
import segue


async def send(channel: segue.MemorySendChannel[int]) -> None:
    async with channel:
        for number in range(3):
            await channel.send(number)


async def main() -> None:
    sending, receiving = segue.open_memory_channel(1)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(send, sending, name="sender")
        async for number in receiving:
            print(number)


segue.run(main())
