"""10,000 connections at once, and a million one after the other: no error, no leak.

The other end is peer.py, a process of its own: both ends of 10,000 connections don't fit into one process's
descriptors.
"""

import asyncio
import os
import resource
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

PEER = str(Path(__file__).with_name("peer.py"))


class Echo(asyncio.Protocol):
    """Echoes; ends the connection when the other side says bye. Counts what it was told."""

    made = lost = now = 0

    def connection_made(self, transport):
        self.transport = transport
        type(self).made += 1
        type(self).now += 1

    def data_received(self, data):
        if data == b"bye":
            self.transport.close()
        else:
            self.transport.write(data)

    def connection_lost(self, exc):
        type(self).lost += 1
        type(self).now -= 1


class BufferedEcho(asyncio.BufferedProtocol):
    """The same through get_buffer and buffer_updated."""

    made = lost = now = 0

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(256)
        type(self).made += 1
        type(self).now += 1

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        if self.buffer[:nbytes] == b"bye":
            self.transport.close()
        else:
            self.transport.write(bytes(self.buffer[:nbytes]))

    def connection_lost(self, exc):
        type(self).lost += 1
        type(self).now -= 1


async def start_peer(*arguments):
    return await asyncio.create_subprocess_exec(sys.executable, PEER, *map(str, arguments), stdout=PIPE)


async def all_lost(protocol):
    while protocol.now:
        await asyncio.sleep(0.01)


def test_ten_thousand_open_connections(run, no_leaked_descriptors):
    count, rounds = 10_000, 3
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 100:
        pytest.skip(f"needs {count + 100} descriptors in one process; the hard limit here is lower")
    protocol = type("Counted", (Echo,), {})

    async def main():
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096)
        async with server:
            peer = await start_peer("hold", server.sockets[0].getsockname()[1], count, rounds)
            assert await peer.stdout.readline() == b"open\n"
            for turn in range(rounds):
                assert await peer.stdout.readline() == b"echoed %d\n" % (turn + 1)
                if turn == 0:
                    assert protocol.now == count
            assert await peer.stdout.readline() == b"done\n"
            assert await peer.wait() == 0
            await all_lost(protocol)

    run(main)
    assert (protocol.made, protocol.lost) == (count, count)


@pytest.mark.parametrize("base", [Echo, BufferedEcho])
@pytest.mark.timeout(1800)
def test_a_million_short_connections(run, scaled, usage, base):
    count = scaled(1_000_000)
    protocol = type("Counted", (base,), {})

    async def rounds(port, connections):
        peer = await start_peer("short", port, connections)
        output, _ = await peer.communicate()
        assert (output, peer.returncode) == (b"done\n", 0)
        await all_lost(protocol)

    async def main():
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=1024)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await rounds(port, 2000)
            before = usage.now()
            await rounds(port, count)
            usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    run(main, timeout=1800)
    # A connection which the peer reset before the server accepted it may never have been made.
    assert protocol.made == protocol.lost
    assert (count + 2000) * 4 // 5 <= protocol.made <= count + 2000


@pytest.mark.timeout(1800)
def test_short_connections_from_a_client(run, scaled, usage):
    """Streams against a server in the same loop; over Unix sockets, which need no ports."""
    count = scaled(100_000)

    async def serve(reader, writer):
        writer.write(await reader.readexactly(64))
        writer.close()
        await writer.wait_closed()

    async def one(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"y" * 64)
        assert await reader.read() == b"y" * 64
        writer.close()
        await writer.wait_closed()

    async def rounds(path, connections):
        for _ in range(connections // 50):
            await asyncio.gather(*(one(path) for _ in range(50)))

    async def main(path):
        async with await asyncio.start_unix_server(serve, path, backlog=200):
            await rounds(path, 1000)
            before = usage.now()
            await rounds(path, count)
            usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    run(main, f"\0segue-reliability-{os.getpid()}", timeout=1800)  # an abstract name: nothing to clean up
