# code: tasks-pile-up
# text: log_request
# cure: TaskGroup
"""A server starts a logging task for every request and forgets it."""
import asyncio


async def log_request(line: bytes) -> None:
    await asyncio.sleep(0.5)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        asyncio.create_task(log_request(line))  # BUG
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
    await asyncio.sleep(0.6)
    server.close()


asyncio.run(main())
