"""anyio on its asyncio backend: task groups, cancel scopes, threads, sockets, TLS and processes."""

import os
import signal
import threading

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.streams.tls import TLSStream


@pytest.fixture
def run(loop_factory):
    def run_main(main):
        async def bounded():
            with anyio.fail_after(60):
                return await main()

        return anyio.run(bounded, backend="asyncio", backend_options={"loop_factory": loop_factory})

    return run_main


def test_first_failure_cancels_the_group(run):
    outcomes = []

    async def sleeper(number):
        try:
            await anyio.sleep(30)
        except anyio.get_cancelled_exc_class():
            outcomes.append(number)
            raise

    async def failing():
        await anyio.sleep(0.05)
        raise ValueError("first")

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(sleeper, number)
                group.start_soon(failing)
        assert [str(error) for error in caught.value.exceptions] == ["first"]

    run(main)
    assert sorted(outcomes) == list(range(10))


def test_cancel_scopes_nest_shield_and_repeat(run):
    async def main():
        with anyio.move_on_after(0.05) as outer:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
                finished_inside_the_shield = True
            await anyio.sleep(30)
        assert outer.cancelled_caught
        assert finished_inside_the_shield

        attempts = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            for _ in range(3):  # cancellation is a level: each checkpoint raises again
                try:
                    await anyio.lowlevel.checkpoint()
                except anyio.get_cancelled_exc_class():
                    attempts += 1
            await anyio.lowlevel.checkpoint()
        assert attempts == 3

    run(main)


def test_task_group_start_waits_for_the_service(run):
    async def service(*, task_status):
        task_status.started("ready")
        await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as group:
            assert await group.start(service) == "ready"
            group.cancel_scope.cancel()

    run(main)


def test_threads_in_both_directions(run):
    main_thread = threading.get_ident()

    def worker(number):
        assert threading.get_ident() != main_thread
        assert anyio.from_thread.run(double, number) == 2 * number
        return anyio.from_thread.run_sync(threading.get_ident)

    async def double(number):
        await anyio.lowlevel.checkpoint()
        return 2 * number

    async def main():
        results = []

        async def one(number):
            results.append(await anyio.to_thread.run_sync(worker, number))

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(one, number)
        assert results == [main_thread] * 50

    run(main)


def test_blocking_portal(loop_factory):
    async def fetch(number):
        await anyio.sleep(0.01)
        return number

    options = {"loop_factory": loop_factory}
    with anyio.from_thread.start_blocking_portal("asyncio", backend_options=options) as portal:
        futures = [portal.start_task_soon(fetch, number) for number in range(20)]
        assert [future.result(10) for future in futures] == list(range(20))


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_sockets(run, certificates, tls):
    async def echo(client):
        async with client:
            if tls:
                client = await TLSStream.wrap(
                    client,
                    server_side=True,
                    ssl_context=certificates.server_context(),
                    standard_compatible=False,
                )
            async for data in client:
                await client.send(data)

    async def main():
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)

            async def client(number):
                options = (
                    {"ssl_context": certificates.client_context(), "tls_standard_compatible": False}
                    if tls
                    else {}
                )
                async with await anyio.connect_tcp("localhost", port, **options) as stream:
                    for size in (1, 1000, 200_000):
                        await stream.send(bytes([number]) * size)
                        received = b""
                        while len(received) < size:
                            received += await stream.receive()
                        assert received == bytes([number]) * size

            async with anyio.create_task_group() as clients:
                for number in range(20):
                    clients.start_soon(client, number)
            group.cancel_scope.cancel()
        await listener.aclose()

    run(main)


def test_udp(run):
    async def main():
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
                for number in range(50):
                    await client.send(str(number).encode())
                    data, address = await server.receive()
                    await server.sendto(data * 2, *address)
                    assert await client.receive() == str(number).encode() * 2

    run(main)


def test_processes(run):
    async def main():
        done = await anyio.run_process(["sort", "-r"], input=b"a\nc\nb\n")
        assert done.stdout == b"c\nb\na\n"
        async with await anyio.open_process(["cat"]) as process:
            await process.stdin.send(b"through the pipe")
            await process.stdin.aclose()
            assert b"".join([chunk async for chunk in process.stdout]) == b"through the pipe"
            assert await process.wait() == 0

    run(main)


def test_signals(run):
    async def main():
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await anext(signals) == signal.SIGUSR1
            os.kill(os.getpid(), signal.SIGUSR2)
            assert await anext(signals) == signal.SIGUSR2

    run(main)


def test_memory_stream_cancellation_loses_nothing(run):
    async def main():
        send, receive = anyio.create_memory_object_stream(0)
        got = []

        async def consumer():
            while True:
                with anyio.move_on_after(0.001):
                    got.append(await receive.receive())
                    if got[-1] is None:
                        return
                await anyio.lowlevel.checkpoint()

        async with send, receive, anyio.create_task_group() as group:
            group.start_soon(consumer)
            for number in range(500):
                await send.send(number)
                if number % 50 == 0:
                    await anyio.sleep(0.003)
            await send.send(None)
        assert got == [*range(500), None]

    run(main)
