# Tutorial, as it once was: the echo server on sockets.
import trio


async def serve(sock):
    with sock:
        while data := await sock.recv(65536):
            await sock.send(data.upper())


async def listen(nursery, task_status=trio.TASK_STATUS_IGNORED):
    with trio.socket.socket() as listener:
        listener.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        task_status.started(listener.getsockname())
        while True:
            sock, _ = await listener.accept()
            nursery.start_soon(serve, sock)


async def main():
    async with trio.open_nursery() as nursery:
        address = await nursery.start(listen, nursery)
        with trio.socket.socket() as client:
            await client.connect(address)
            await client.send(b"hello")
            print(await client.recv(100))
            client.shutdown(trio.socket.SHUT_WR)
            print(await client.recv(100))
        nursery.cancel_scope.cancel()


trio.run(main)

# prints:
#     b'HELLO'
#     b''
