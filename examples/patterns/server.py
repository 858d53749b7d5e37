"""A server over TCP, with a time limit for each client. When it stops, so does everything that it started."""

import segue


async def serve_client(stream: segue.SocketStream) -> None:
    with segue.move_on_after(5) as limit:
        async for data in stream:
            limit.relative_deadline = 5  # from now on
            await stream.send_all(data.upper())


async def ask(port: int, text: bytes) -> bytes:
    async with await segue.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(text)
        return bytes(await stream.receive_some())


async def main() -> None:
    async with segue.open_nursery() as nursery:
        listeners = await nursery.start(segue.serve_tcp, serve_client, 0)
        port = listeners[0].socket.getsockname()[1]
        print(await segue.gather(ask(port, b"one"), ask(port, b"two")))
        nursery.cancel_scope.cancel(reason="that was all")
    print("stopped")


segue.run(main())
