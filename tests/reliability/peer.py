"""The other end of the connections in test_many_connections.py: plain sockets and epoll in a process.

Not asyncio on purpose: what it counts must not depend on what is tested. Addresses are of the loopback
net only.

    python peer.py hold PORT COUNT ROUNDS   open COUNT connections, echo on each ROUNDS times, close all
    python peer.py short PORT COUNT         open, echo once and end COUNT connections in five ways
"""

from __future__ import annotations

import resource
import select
import socket
import struct
import sys

AT_ONCE = 200
SOURCES = [f"127.0.{block}.{host}" for block in range(1, 3) for host in range(1, 51)]
"""Many source addresses: one has only 28,000 ports, and a closed connection keeps its port for a minute."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def connect(port: int, number: int) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: choose the port when connecting
    opened.bind((SOURCES[number % len(SOURCES)], 0))
    opened.connect(("127.0.0.1", port))
    return opened


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError(f"ended after {len(received)} of {size} bytes")
        received += part
    return received


def hold(port: int, count: int, rounds: int) -> None:
    connections = [connect(port, number) for number in range(count)]
    print("open", flush=True)
    for turn in range(rounds):
        message = struct.Struct(">II56x")
        for number, connection in enumerate(connections):
            connection.sendall(message.pack(number, turn))
        for number, connection in enumerate(connections):
            assert receive_exactly(connection, message.size) == message.pack(number, turn)
        print(f"echoed {turn + 1}", flush=True)
    for connection in connections:
        connection.close()


def short(port: int, count: int) -> None:
    """AT_ONCE connections at a time; how each one ends goes round through five ways."""
    poll = select.epoll()
    open_now: dict[int, tuple[socket.socket, int]] = {}
    started = done = 0
    while done < count:
        while started < count and len(open_now) < AT_ONCE:
            connection = connect(port, started)
            way = started % 5
            if way == 4:  # not a byte
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                connection.close()
                done += 1
            else:
                connection.sendall(b"x" * 64)
                open_now[connection.fileno()] = connection, way
                poll.register(connection, select.EPOLLIN)
            started += 1
        for descriptor, _ in poll.poll(10):
            connection, way = open_now[descriptor]
            receive_exactly(connection, 64)
            del open_now[descriptor]
            poll.unregister(connection)
            if way == 1:  # reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            elif way == 2:  # half-close, then wait for the server's end
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""
            elif way == 3:  # ask the server to end it
                connection.sendall(b"bye")
                assert connection.recv(1) == b""
            connection.close()
            done += 1


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mode, *numbers = sys.argv[1:]
    {"hold": hold, "short": short}[mode](*map(int, numbers))
    print("done", flush=True)


if __name__ == "__main__":
    main()
