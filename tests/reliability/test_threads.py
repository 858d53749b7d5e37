"""Several loops in several threads, and threads that call into a loop as fast as they can."""

import asyncio
import concurrent.futures
import threading
import time


def test_loops_in_threads_side_by_side(loop_factory):
    """Eight loops at once, each with a server, clients, timers and tasks of its own."""

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def client(port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(20):
            writer.write(b"%d %d\n" % (number, turn))
            assert await reader.readline() == b"%d %d\n" % (number, turn)
        writer.close()
        await writer.wait_closed()
        return number

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.gather(*(client(port, number) for number in range(20)))

    def thread():
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(thread) for _ in range(8)]
        assert [future.result(60) for future in loops] == [list(range(20))] * 8


def test_storm_of_threadsafe_calls(run, scaled):
    """Every call arrives, once, in each thread's order, without anything else to wake the loop."""
    threads, each = 8, max(2000, scaled(200_000))
    seen = {number: [] for number in range(threads)}

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def storm(number):
            for turn in range(each):
                loop.call_soon_threadsafe(seen[number].append, turn)
            loop.call_soon_threadsafe(finished)

        def finished():
            main.left -= 1
            if not main.left:
                done.set_result(None)

        main.left = threads
        workers = [threading.Thread(target=storm, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        await done
        for worker in workers:
            worker.join()

    run(main)
    assert all(calls == list(range(each)) for calls in seen.values())


def test_idle_loop_is_woken_by_every_single_call(run):
    """One call at a time into a loop that sleeps: a lost wakeup would hang here."""

    async def main():
        loop = asyncio.get_running_loop()
        asked, rounds = threading.Event(), 3000
        answers = []

        def thread():
            for turn in range(rounds):
                asked.clear()
                loop.call_soon_threadsafe(answer, turn)
                if not asked.wait(10):
                    return turn
            return None

        def answer(turn):
            answers.append(turn)
            asked.set()

        assert await asyncio.to_thread(thread) is None, "a call was never made"
        assert answers == list(range(rounds))

    run(main)


def test_coroutines_from_threads(run):
    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    async def main():
        loop = asyncio.get_running_loop()

        def thread(start):
            futures = [asyncio.run_coroutine_threadsafe(double(start + n), loop) for n in range(200)]
            return [future.result(30) for future in futures]

        results = await asyncio.gather(*(asyncio.to_thread(thread, 1000 * n) for n in range(6)))
        assert results == [[2 * (1000 * n + m) for m in range(200)] for n in range(6)]

    run(main)


def test_executor_results_under_load(run):
    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            calls = [loop.run_in_executor(pool, pow, number, 2) for number in range(5000)]
            assert await asyncio.gather(*calls) == [number**2 for number in range(5000)]

    run(main)


def hammer(loop, outcomes):
    """Calls into the loop until that fails; appends the error."""
    try:
        while True:
            loop.call_soon_threadsafe(int)
            time.sleep(0)  # lets the others run: what is tested is the race with close(), not the backlog
    except Exception as error:  # noqa: BLE001 - which one it is, is what is tested
        outcomes.append(error)


def test_call_into_a_closed_loop_is_an_error_not_a_crash(loop_factory):
    """Threads hammer a loop while it closes: each call is accepted or refused, nothing else."""
    for _ in range(20):
        loop = loop_factory()
        outcomes = []
        workers = [threading.Thread(target=hammer, args=(loop, outcomes)) for _ in range(4)]
        for worker in workers:
            worker.start()
        loop.call_later(0.005, loop.stop)
        loop.run_forever()
        loop.close()
        for worker in workers:
            worker.join(10)
            assert not worker.is_alive()
        assert [type(error) for error in outcomes] == [RuntimeError] * 4, outcomes


def test_threads_that_never_pause_do_not_bury_the_loop(loop_factory):
    """Four threads schedule as fast as they can: what waits stays bounded, and the loop stops and closes under it."""
    loop = loop_factory()
    threads, enough, bound = 4, 200_000, 150_000
    sent, ran, most = [0] * threads, 0, 0

    def callback():
        nonlocal ran, most
        ran += 1
        most = max(most, sum(sent) - ran)
        if ran == enough:
            loop.stop()

    def storm(number):
        try:
            while True:
                loop.call_soon_threadsafe(callback)
                sent[number] += 1
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"

    workers = [threading.Thread(target=storm, args=(number,)) for number in range(threads)]

    def start():
        for worker in workers:
            worker.start()

    loop.call_soon(start)
    loop.run_forever()
    loop.close()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert ran >= enough
    assert most < bound
