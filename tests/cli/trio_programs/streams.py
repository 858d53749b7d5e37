# Reference: streams in memory, two halves made one, and what happens to who is cut off.
import trio
import trio.testing


async def main():
    left, right = trio.testing.memory_stream_pair()
    await left.send_all(b"ping")
    print(await right.receive_some(10))
    await left.send_eof()
    print(await right.receive_some(10))

    one, two = trio.testing.memory_stream_one_way_pair()
    three, four = trio.testing.memory_stream_one_way_pair()
    stapled, other = trio.StapledStream(one, four), trio.StapledStream(three, two)
    async with stapled, other:
        await stapled.send_all(b"there")
        await other.send_all(b"and back")
        print(await other.receive_some(), await stapled.receive_some())
    try:
        await stapled.send_all(b"more")
    except trio.ClosedResourceError:
        print("closed")

    async def late(stream):
        async with stream:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(lambda task_status: trio.serve_tcp(late, 0, task_status=task_status))
        client = await trio.testing.open_stream_to_socket_listener(listeners[0])
        with trio.move_on_after(0.01) as scope:
            await client.receive_some(1)
        print("timed out:", scope.cancelled_caught)
        await trio.aclose_forcefully(client)
        nursery.cancel_scope.cancel()


trio.run(main)

# prints:
#     bytearray(b'ping')
#     bytearray(b'')
#     bytearray(b'there') bytearray(b'and back')
#     closed
#     timed out: True
