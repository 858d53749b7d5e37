"""The websockets library, server and client, over TCP, TLS and a Unix socket."""

import asyncio
import os

import pytest
import websockets
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import broadcast, serve, unix_serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


def port_of(server) -> int:
    return server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
def test_echo_text_binary_and_fragments(run, certificates, short_tmp, transport):
    async def talk(socket):
        for size in (0, 1, 125, 126, 65_535, 65_536, 500_000):
            blob = os.urandom(size)
            await socket.send(blob)
            assert await socket.recv() == blob
            await socket.send("ü" * size)
            assert await socket.recv() == "ü" * size
        await socket.send([b"in ", b"several ", b"fragments"])
        assert await socket.recv() == b"in several fragments"
        assert await (await socket.ping()) >= 0

    async def main():
        if transport == "unix":
            path = short_tmp / "websockets.sock"
            async with unix_serve(echo, str(path)), unix_connect(str(path), uri="ws://localhost/") as socket:
                await talk(socket)
            path.unlink(missing_ok=True)  # CPython before 3.13 leaves it
        else:
            tls = transport == "tls"
            async with serve(
                echo, "127.0.0.1", 0, ssl=certificates.server_context() if tls else None
            ) as server:
                uri = f"{'wss' if tls else 'ws'}://localhost:{port_of(server)}"
                async with connect(uri, ssl=certificates.client_context() if tls else None) as socket:
                    await talk(socket)

    run(main)


def test_many_clients_hear_a_broadcast(run):
    async def main():
        everyone = set()
        joined = asyncio.Event()

        async def room(socket):
            everyone.add(socket)
            if len(everyone) == 100:
                joined.set()
            await socket.wait_closed()

        async with serve(room, "127.0.0.1", 0) as server:
            uri = f"ws://localhost:{port_of(server)}"

            async def listen():
                async with connect(uri) as socket:
                    return [await socket.recv() for _ in range(20)]

            async with asyncio.TaskGroup() as group:
                listeners = [group.create_task(listen()) for _ in range(100)]
                await joined.wait()
                for number in range(20):
                    broadcast(everyone, f"news {number}")
            for listener in listeners:
                assert listener.result() == [f"news {number}" for number in range(20)]

    run(main)


def test_close_codes_and_lost_connections(run):
    async def main():
        async def part(socket):
            match await socket.recv():
                case "close":
                    await socket.close(4001, "as asked")
                case "abort":
                    socket.transport.abort()

        async with serve(part, "127.0.0.1", 0) as server:
            uri = f"ws://localhost:{port_of(server)}"
            async with connect(uri) as socket:
                await socket.send("close")
                with pytest.raises(websockets.ConnectionClosedError) as caught:
                    await socket.recv()
                assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as asked")
            async with connect(uri) as socket:
                await socket.send("abort")
                with pytest.raises(websockets.ConnectionClosedError) as caught:
                    await socket.recv()
                assert caught.value.rcvd is None

    run(main)


def test_slow_reader_holds_the_writer_back(run):
    async def main():
        sent = 0

        async def flood(socket):
            nonlocal sent
            for _ in range(200):
                await socket.send(b"x" * 100_000)
                sent += 1

        async with (
            serve(flood, "127.0.0.1", 0, compression=None) as server,
            connect(f"ws://localhost:{port_of(server)}", compression=None, max_queue=2) as socket,
        ):
            await asyncio.sleep(0.3)
            assert sent < 200, "20 MB don't fit into the buffers between the two"
            for _ in range(200):
                assert len(await socket.recv()) == 100_000

    run(main)
