# Reference: the same, with each end closed by its user.
import trio


async def producer(send_channel):
    async with send_channel:
        for number in range(3):
            await send_channel.send(f"message {number}")


async def consumer(receive_channel):
    async with receive_channel:
        async for value in receive_channel:
            print(f"got value {value!r}")


async def main():
    async with trio.open_nursery() as nursery:
        send_channel, receive_channel = trio.open_memory_channel(0)
        nursery.start_soon(producer, send_channel)
        nursery.start_soon(consumer, receive_channel)


trio.run(main)

# prints:
#     got value 'message 0'
#     got value 'message 1'
#     got value 'message 2'
