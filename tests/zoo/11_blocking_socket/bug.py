# code: blocking-call
# tasks: client
# cure: open_connection
"""A plain socket, as libraries that know nothing of asyncio use it, connects on the loop."""
import asyncio
import socket


async def ask(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:  # BUG
        sock.sendall(b"hello")


async def main() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.create_task(ask(port), name="client")
    server.close()


asyncio.run(main())
