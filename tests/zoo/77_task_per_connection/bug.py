# code: tasks-pile-up
# tasks: store
# cure: TaskGroup
"""A callback starts a task for every message, and forgets it."""
import asyncio


async def store(message: bytes) -> None:
    await asyncio.sleep(0.4)


class Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for message in data.splitlines():
            asyncio.ensure_future(store(message))  # BUG


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    _, writer = await asyncio.open_connection(*address)
    for number in range(200):
        writer.write(f"message {number}\n".encode())
        await writer.drain()
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.5)
    server.close()


asyncio.run(main())
