"""The lookup of addresses, on asyncio and on Segue: numeric ones take no thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from typing import Any

import pytest
from on_either_loop import Run


class NoThreads(concurrent.futures.ThreadPoolExecutor):
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"asked in a thread: {args}")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 80), ("127.0.0.1", "80"), (b"127.0.0.1", b"80"), ("127.0.0.1", None), ("::1", 80),
        ("2001:db8::1", 80), ("::ffff:1.2.3.4", 0), ("127.1", 80), (None, 80),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [0, socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_numeric_addresses_are_not_looked_up(run: Run, host: Any, port: Any, kind: int) -> None:
    async def main() -> None:
        expected = socket.getaddrinfo(host, port, type=kind)
        if run.loop_name == "segue":
            asyncio.get_running_loop().set_default_executor(NoThreads())
        assert await asyncio.get_running_loop().getaddrinfo(host, port, type=kind) == expected

    run(main())


@pytest.mark.parametrize(("host", "port"), [("localhost", 80), ("127.0.0.1", "http"), ("1.invalid", 80)])
def test_names_are_looked_up_in_a_thread(run: Run, host: str, port: Any) -> None:
    asked: list[Any] = []

    class Threads(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            asked.append(args)
            return super().submit(*args, **kwargs)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(Threads())
        try:
            expected: Any = socket.getaddrinfo(host, port)
        except socket.gaierror as exc:
            with pytest.raises(socket.gaierror) as caught:
                await asyncio.get_running_loop().getaddrinfo(host, port)
            assert caught.value.errno == exc.errno
        else:
            assert await asyncio.get_running_loop().getaddrinfo(host, port) == expected
        assert asked

    run(main())


def test_wrong_numeric_lookups(run: Run) -> None:
    async def main() -> None:
        for arguments, keywords in [
            (("127.0.0.1", 80), {"family": socket.AF_INET6}),
            (("300.1.1.1", 80), {"flags": socket.AI_NUMERICHOST}),
            (("127.0.0.1", 80), {"type": 77}),
        ]:
            with pytest.raises(OSError) as direct:
                socket.getaddrinfo(*arguments, **keywords)
            with pytest.raises(type(direct.value)) as caught:
                await asyncio.get_running_loop().getaddrinfo(*arguments, **keywords)
            assert caught.value.args == direct.value.args

    run(main())


def test_numeric_names_of_addresses(run: Run) -> None:
    async def main() -> None:
        if run.loop_name == "segue":
            asyncio.get_running_loop().set_default_executor(NoThreads())
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await asyncio.get_running_loop().getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
        assert await asyncio.get_running_loop().getnameinfo(("::1", 80, 0, 0), flags) == ("::1", "80")

    run(main())


def test_connecting_to_numeric_addresses_takes_no_thread(run: Run) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(NoThreads())
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
            address = server.getsockname()
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *address)
            transport.close()
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, ("127.0.0.1", 0), remote_addr=address
            )
            transport.close()
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            listening = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
            listening.close()
            await asyncio.sleep(0)

    run(main())
