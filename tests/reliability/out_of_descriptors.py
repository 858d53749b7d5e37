"""The program of test_out_of_descriptors.py, a process of its own because it lives under a low RLIMIT_NOFILE.

Usage: python out_of_descriptors.py asyncio|segue. Prints one line of JSON:
reports        messages that the loop's exception handler got while descriptors were short
echoed_during  clients that were served while descriptors were short
echoed_after   clients that were served once descriptors were back
cpu            seconds of CPU used in one second during which nothing could be accepted
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time

LIMIT = 64
CLIENTS = 100


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def child_with_clients(port: int, commands: int, answers: int) -> None:
    """A forked process that opens CLIENTS connections; at each command it says how many have been echoed."""
    clients = []
    for number in range(CLIENTS):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"%03d" % number)
        client.setblocking(False)
        clients.append(client)
    os.write(answers, b"%04d" % 0)
    echoed = set()
    while command := os.read(commands, 1):
        deadline = time.monotonic() + (30 if command == b"a" else 0)
        while len(echoed) < CLIENTS:
            for number, client in enumerate(clients):
                try:
                    if number not in echoed and client.recv(10) == b"%03d" % number:
                        echoed.add(number)
                except BlockingIOError:
                    continue
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        os.write(answers, b"%04d" % len(echoed))
    os._exit(0)


async def main(port_ready: int, commands: int, answers: int) -> dict:
    loop = asyncio.get_running_loop()
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=CLIENTS)
    answered: asyncio.Queue[int] = asyncio.Queue()
    loop.add_reader(answers, lambda: answered.put_nowait(int(os.read(answers, 4))))
    hoard = []
    try:
        while True:
            hoard.append(os.dup(0))
    except OSError:
        for _ in range(20):  # room for 20 clients of the 100
            os.close(hoard.pop())
    os.write(port_ready, b"%05d" % server.sockets[0].getsockname()[1])
    await answered.get()
    while not reports:
        await asyncio.sleep(0.01)
    cpu = time.process_time()
    await asyncio.sleep(1.0)
    cpu = time.process_time() - cpu
    os.write(commands, b"d")
    during = await answered.get()
    during_reports = list(reports)
    # Descriptors come back: every waiting client must be served, without anything being done to the server.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.write(commands, b"a")
    after = await answered.get()
    loop.remove_reader(answers)
    server.close()
    for descriptor in hoard:
        os.close(descriptor)
    return {"reports": during_reports, "echoed_during": during, "echoed_after": after, "cpu": cpu}


def start(name: str) -> None:
    port_in, port_out = os.pipe()
    command_in, command_out = os.pipe()
    answer_in, answer_out = os.pipe()
    if os.fork() == 0:
        os.close(command_out)
        port = int(os.read(port_in, 5))
        child_with_clients(port, command_in, answer_out)
    os.close(command_in)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    if name == "asyncio":
        factory = asyncio.SelectorEventLoop
    else:
        import segue

        factory = segue.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(asyncio.wait_for(main(port_out, command_out, answer_in), 60))))
    os.close(command_out)
    os.wait()


if __name__ == "__main__":
    start(sys.argv[1])
