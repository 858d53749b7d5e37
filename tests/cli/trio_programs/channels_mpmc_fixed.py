# Reference: each producer and consumer has a clone.
import trio


async def producer(name, send_channel):
    async with send_channel:
        for number in range(3):
            await send_channel.send(f"{number} from producer {name}")
            await trio.sleep(0.01)


async def consumer(receive_channel):
    async with receive_channel:
        async for value in receive_channel:
            print(f"got value {value!r}")
            await trio.sleep(0.01)


async def main():
    async with trio.open_nursery() as nursery:
        send_channel, receive_channel = trio.open_memory_channel(0)
        async with send_channel, receive_channel:
            nursery.start_soon(producer, "A", send_channel.clone())
            nursery.start_soon(producer, "B", send_channel.clone())
            nursery.start_soon(consumer, receive_channel.clone())
            nursery.start_soon(consumer, receive_channel.clone())


trio.run(main)

# prints, in any order:
#     got value '0 from producer A'
#     got value '0 from producer B'
#     got value '1 from producer A'
#     got value '1 from producer B'
#     got value '2 from producer A'
#     got value '2 from producer B'
