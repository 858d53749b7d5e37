# Reference: two producers share one end, and the first to finish closes it for the other.
import trio
import trio.testing


async def producer(name, send_channel, seconds):
    async with send_channel:
        for number in range(3):
            await send_channel.send(f"{number} from producer {name}")
            await trio.sleep(seconds)


async def consumer(receive_channel):
    async with receive_channel:
        async for value in receive_channel:
            print(f"got value {value!r}")


async def main():
    async with trio.open_nursery() as nursery:
        send_channel, receive_channel = trio.open_memory_channel(0)
        nursery.start_soon(producer, "A", send_channel, 0.01)
        nursery.start_soon(producer, "B", send_channel, 0.2)
        nursery.start_soon(consumer, receive_channel)


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

# prints, in any order:
#     got value '0 from producer A'
#     got value '0 from producer B'
#     got value '1 from producer A'
#     got value '2 from producer A'
# fails:
#     ClosedResourceError
