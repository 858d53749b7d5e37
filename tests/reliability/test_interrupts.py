"""Ctrl-C and other threads while the loop is busy with turns that never enter Python code.

The busy part is a functools.partial that schedules itself: loop.call_soon calls it, it calls
loop.call_soon, and on Segue no Python code runs at all. Each program is a process of its own, because a
signal to this one would end the test.
"""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

BUSY = """
import asyncio, functools, os, signal, sys, threading, time

if sys.argv[1] == "segue":
    import segue
    factory = segue.new_event_loop
else:
    factory = asyncio.SelectorEventLoop

def keep_busy(loop):
    again = functools.partial(loop.call_soon)
    again.__setstate__((loop.call_soon, (again,), {}, None))
    again()
"""


def start(loop_name, program, **environment):
    source = BUSY + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-c", source, loop_name],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, status):
    try:
        output, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"the process did not end; it printed {output!r} and {errors[-2000:]!r}")
    assert process.returncode == status, errors
    return output, errors


@pytest.mark.parametrize("debug", ["", "1"], ids=["", "debug"])
def test_ctrl_c_in_run_forever(loop_name, debug):
    """In debug mode the loop describes each callback, for which Python code runs: Ctrl-C may come there."""
    process = start(
        loop_name,
        """
        loop = factory()
        keep_busy(loop)
        loop.call_soon(functools.partial(print, "busy", flush=True))
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        assert loop.run_until_complete(asyncio.sleep(0.01, "usable")) == "usable"
        loop.close()
        """,
        PYTHONASYNCIODEBUG=debug,
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    assert finish(process, 0)[0] == "interrupted\n"


def test_ctrl_c_cancels_the_main_task(loop_name):
    process = start(
        loop_name,
        """
        async def main():
            keep_busy(asyncio.get_running_loop())
            print("busy", flush=True)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("cancelled")
                raise

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        """,
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    output, errors = finish(process, -signal.SIGINT)
    assert output == "cancelled\n"
    assert "KeyboardInterrupt" in errors


def test_ctrl_c_when_idle(loop_name):
    process = start(
        loop_name,
        """
        async def main():
            print("idle", flush=True)
            await asyncio.Event().wait()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        """,
    )
    assert process.stdout.readline() == "idle\n"
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in finish(process, -signal.SIGINT)[1]


def test_signal_handler_runs_in_between(loop_name):
    process = start(
        loop_name,
        """
        loop = factory()
        loop.add_signal_handler(signal.SIGTERM, loop.stop)
        keep_busy(loop)
        loop.call_soon(functools.partial(print, "busy", flush=True))
        loop.run_forever()
        print("stopped")
        """,
    )
    assert process.stdout.readline() == "busy\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process, 0)[0] == "stopped\n"


def test_other_threads_make_progress(loop_name):
    process = start(
        loop_name,
        """
        loop = factory()
        steps = []

        def thread():
            for step in range(200):
                steps.append(step)
                time.sleep(0)
            loop.call_soon_threadsafe(loop.stop)

        keep_busy(loop)
        threading.Thread(target=thread).start()
        loop.run_forever()
        print(len(steps))
        """,
    )
    assert finish(process, 0)[0] == "200\n"


def test_timers_and_sockets_make_progress(loop_name):
    process = start(
        loop_name,
        """
        async def main():
            keep_busy(asyncio.get_running_loop())
            async def echo(reader, writer):
                writer.write(await reader.readline())
                writer.close()
            async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
                for _ in range(20):
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    writer.write(b"hello\\n")
                    assert await reader.read() == b"hello\\n"
                    writer.close()
                    await asyncio.sleep(0.001)
            print("served")

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        """,
    )
    assert finish(process, 0)[0] == "served\n"


@pytest.mark.parametrize("how", ["set_wakeup_fd", "remove_signal_handler", "nothing"])
def test_a_signal_during_a_callback_in_c_is_handled_before_the_loop_waits(loop_name, how):
    """Nothing of Python runs between the signal and the wait, and nothing else wakes the loop."""
    process = start(
        loop_name,
        f"""
        import ctypes
        loop = factory()
        signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon(loop.stop))
        send_signal = ctypes.CDLL(None)["raise"]

        def begin():
            if {how!r} == "set_wakeup_fd":
                signal.set_wakeup_fd(-1)
            elif {how!r} == "remove_signal_handler":
                loop.add_signal_handler(signal.SIGUSR2, print)
                loop.remove_signal_handler(signal.SIGUSR2)
            loop.call_soon(send_signal, signal.SIGUSR1)

        loop.call_soon(begin)
        loop.run_forever()
        loop.close()
        print("stopped")
        """,
    )
    assert finish(process, 0)[0] == "stopped\n"


def test_a_signal_between_two_runs_reaches_its_handler(loop_name):
    process = start(
        loop_name,
        """
        loop, seen = factory(), []
        async def main():
            loop.add_signal_handler(signal.SIGUSR1, seen.append, "handled")
        loop.run_until_complete(main())
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run_until_complete(asyncio.sleep(0.05))
        print(*seen)
        """,
    )
    assert finish(process, 0)[0] == "handled\n"
