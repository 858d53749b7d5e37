# Tutorial: a server with a task for each connection.
from itertools import count

import trio

PORT = 12345
CONNECTION_COUNTER = count()


async def echo_server(server_stream):
    ident = next(CONNECTION_COUNTER)
    print(f"echo_server {ident}: started", flush=True)
    try:
        async for data in server_stream:
            print(f"echo_server {ident}: received data {data!r}", flush=True)
            await server_stream.send_all(data)
        print(f"echo_server {ident}: connection closed", flush=True)
    except Exception as exc:
        print(f"echo_server {ident}: crashed: {exc!r}", flush=True)


async def main():
    await trio.serve_tcp(echo_server, PORT)


trio.run(main)
