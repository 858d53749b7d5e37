# code: blocking-call, loop-blocked
# tasks: checker
# cure: open_connection
"""A blocking `recv` on a socket, in a coroutine."""
import asyncio
import socket


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def check(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=0.3) as sock:  # BUG
        try:
            print(sock.recv(100))
        except TimeoutError:
            print("the server never came to answer")


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await asyncio.create_task(check(address), name="checker")
    await asyncio.sleep(0.05)
    server.close()
    await server.wait_closed()


asyncio.run(main())
