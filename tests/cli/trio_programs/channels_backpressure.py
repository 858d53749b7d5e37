# Reference: a producer faster than its consumer, with a buffer that has no end, and without one.
import math

import trio
import trio.testing


async def producer(send_channel):
    count = 0
    while True:
        await trio.sleep(0.1)
        await send_channel.send(count)
        count += 1


async def consumer(receive_channel):
    async for _ in receive_channel:
        await trio.sleep(1)


async def main(buffer):
    send_channel, receive_channel = trio.open_memory_channel(buffer)
    with trio.move_on_after(5.05):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(producer, send_channel)
            nursery.start_soon(consumer, receive_channel)
    print("left in the buffer:", send_channel.statistics().current_buffer_used)


for buffer in (math.inf, 0):
    trio.run(main, buffer, clock=trio.testing.MockClock(autojump_threshold=0))

# prints:
#     left in the buffer: 45
#     left in the buffer: 0
