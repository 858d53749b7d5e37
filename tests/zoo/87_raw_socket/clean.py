"""asyncio's streams."""
import asyncio


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def check(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    print(await reader.readline())
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await asyncio.create_task(check(address), name="checker")
    await asyncio.sleep(0.05)
    server.close()
    await server.wait_closed()


asyncio.run(main())
