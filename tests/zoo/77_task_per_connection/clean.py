"""A queue and one worker."""
import asyncio


async def store(message: bytes) -> None:
    await asyncio.sleep(0.001)


class Sink(asyncio.Protocol):
    def __init__(self, messages: asyncio.Queue[bytes]) -> None:
        self.messages = messages

    def data_received(self, data: bytes) -> None:
        for message in data.splitlines():
            self.messages.put_nowait(message)


async def work(messages: asyncio.Queue[bytes]) -> None:
    for _ in range(200):
        await store(await messages.get())


async def main() -> None:
    loop = asyncio.get_running_loop()
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    server = await loop.create_server(lambda: Sink(messages), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    worker = asyncio.create_task(work(messages), name="worker")
    _, writer = await asyncio.open_connection(*address)
    for number in range(200):
        writer.write(f"message {number}\n".encode())
        await writer.drain()
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    await worker
    server.close()


asyncio.run(main())
