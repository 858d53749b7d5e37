"""fork(): the child of a process with a loop gets no half-working copy of it, and the parent's goes on."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys

import pytest


def in_child(function):
    """What `function()` returned in a forked child, as text; the child exits at once afterwards."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(function())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return answer


pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


LOCAL = ("127.0.0.1", 0)
USES = {
    "run_forever": lambda loop: loop.run_forever(),
    "run_until_complete": lambda loop: loop.run_until_complete(asyncio.sleep(0)),
    "add_reader": lambda loop: loop.add_reader(os.pipe()[0], print),
    "create_server": lambda loop: loop.create_server(asyncio.Protocol, sock=socket.create_server(LOCAL)).send(None),
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", USES)
def test_inherited_loop_is_refused(name):
    """Only Segue promises this: a child that uses asyncio's loop changes the epoll of its parent's."""
    import segue

    loop = segue.new_event_loop()
    try:
        answer = in_child(lambda: USES[name](loop))
        assert answer.startswith("RuntimeError: ")
        assert "fork" in answer
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        loop.close()


def test_parent_serves_on_after_a_child_closed_or_dropped_the_loop():
    """The child's close() must not take the parent's descriptors out of the epoll they share."""
    import segue

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        def close_it():
            asyncio._set_running_loop(None)
            server.close()
            try:
                loop.close()
            except RuntimeError:
                return "refused"
            return "closed"

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"still there?\n")
            assert await reader.read() == b"still there?\n"
            writer.close()
            await writer.wait_closed()

        await ask()
        assert in_child(close_it) in ("refused", "closed")
        await asyncio.wait_for(ask(), 10)
        loop.call_later(0.01, server.close)  # timers and wakeups work too
        await asyncio.wait_for(loop.run_in_executor(None, int), 10)
        await asyncio.wait_for(server.wait_closed(), 10)

    segue.run(main())


def test_child_of_a_running_loop_may_run_its_own(run, loop_factory):
    async def answer():
        await asyncio.sleep(0.001)
        reader, writer = os.pipe()
        came = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(reader, lambda: came.done() or came.set_result(os.read(reader, 9)))
        os.write(writer, b"own loop")
        return (await came).decode()

    def child():
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(answer())

    async def main():
        for _ in range(3):
            assert in_child(child) == "own loop"
            await asyncio.sleep(0.001)
        assert await answer() == "own loop"

    run(main)


def work(number, factory_name):
    if factory_name == "segue":
        import segue

        factory = segue.new_event_loop
    else:
        factory = asyncio.SelectorEventLoop

    async def compute():
        return sum(await asyncio.gather(*(asyncio.sleep(0, number) for _ in range(100))))

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(compute())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_from_a_running_loop(run, loop_name, method):
    async def main():
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            results = await asyncio.to_thread(pool.starmap, work, [(number, loop_name) for number in range(6)])
        assert results == [100 * number for number in range(6)]

    run(main)


def test_an_executed_program_inherits_none_of_the_loops_descriptors(run):
    def descriptors_in_a_program():
        program = "import os; print(len(os.listdir('/proc/self/fd')))"
        return subprocess.check_output([sys.executable, "-c", program], close_fds=False)

    before = descriptors_in_a_program()

    async def main():
        async with await asyncio.start_server(print, "127.0.0.1", 0):
            await asyncio.to_thread(int)
            assert descriptors_in_a_program() == before

    run(main)
