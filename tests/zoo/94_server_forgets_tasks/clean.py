"""It awaits the logging."""
import asyncio


async def log_request(line: bytes) -> None:
    await asyncio.sleep(0.001)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        await log_request(line)
        writer.write(b"ok\n")
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(150):
        writer.write(f"request {number}\n".encode())
        await reader.readline()
    writer.close()
    await writer.wait_closed()
    server.close()


asyncio.run(main())
