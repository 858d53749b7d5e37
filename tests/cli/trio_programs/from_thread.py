# Reference: a thread that talks with the loop through channels.
import trio


def thread_fn(receive_from_trio, send_to_trio):
    while True:
        try:
            request = trio.from_thread.run(receive_from_trio.receive)
        except trio.EndOfChannel:
            trio.from_thread.run(send_to_trio.aclose)
            return
        trio.from_thread.run(send_to_trio.send, request + 1)


async def main():
    send_to_thread, receive_from_trio = trio.open_memory_channel(0)
    send_to_trio, receive_from_thread = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, thread_fn, receive_from_trio, send_to_trio)
        for number in range(2):
            await send_to_thread.send(number)
            print(await receive_from_thread.receive())
        await send_to_thread.aclose()


trio.run(main)

# prints:
#     1
#     2
