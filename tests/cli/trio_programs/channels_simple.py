# Reference: a producer and a consumer. The consumer never hears of the end: the program does not end by itself.
import trio
import trio.testing


async def producer(send_channel):
    for number in range(3):
        await send_channel.send(f"message {number}")


async def consumer(receive_channel):
    async for value in receive_channel:
        print(f"got value {value!r}")


async def main():
    async with trio.open_nursery() as nursery:
        send_channel, receive_channel = trio.open_memory_channel(0)
        nursery.start_soon(producer, send_channel)
        nursery.start_soon(consumer, receive_channel)
        await trio.testing.wait_all_tasks_blocked()
        print("still waiting:", len(nursery.child_tasks), send_channel.statistics().tasks_waiting_receive)
        nursery.cancel_scope.cancel()


trio.run(main)

# prints:
#     got value 'message 0'
#     got value 'message 1'
#     got value 'message 2'
#     still waiting: 1 1
