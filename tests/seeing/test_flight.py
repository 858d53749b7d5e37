"""The flight recorder: what makes it write, what is in the files, how many there are. In real programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import segue
import segue._core
from conftest import Programs, Said

PATIENCE = 60.0

# Native code that holds the GIL until the test says something on standard input.
HOLDS_THE_GIL = """
    import ctypes

    def native_code():
        ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)
"""


class Flight:
    """A flight recording's file, read."""

    def __init__(self, path: Path) -> None:
        opened = segue._core.OpenedRecording(str(path))
        self.path = path
        self.ask = lambda question, **given: json.loads(opened.answer(question, json.dumps(given)))
        self.summary = self.ask("summary")
        self.why = self.summary["flight"]["why"]
        self.kind = self.summary["flight"]["kind"]
        self.tasks = {task["name"]: task for task in self.ask("tasks", limit=1_000_000)["tasks"]}
        self.events = [json.loads(line) for line in opened.export("jsonl").decode().splitlines()[1:]]
        assert self.summary["complete"] and not self.summary["damage"]


def flights(folder: Path) -> list[Flight]:
    return [Flight(path) for path in sorted(folder.glob("*.segue"), key=lambda path: path.stat().st_mtime_ns)]


def only(folder: Path) -> Flight:
    (flight,) = flights(folder)
    return flight


def until(condition: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
    return found


@contextmanager
def running(programs: Programs, program: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has printed a first line."""
    programs.write(program)
    command = [sys.executable, "-m", "segue", "run", *options, "app.py"]
    with subprocess.Popen(
        command,
        cwd=programs.folder,
        env=programs.environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield process
        finally:
            process.kill()


def said_of_flights(said: Said) -> list[str]:
    return [line for line in said.lines if line.startswith("segue: ")]


# ---- what makes it write ---------------------------------------------------------------------------------------------


def test_a_task_that_fails_and_that_nobody_handles(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, gc

        async def bad():
            raise ValueError("no such page\\n\\x1b[31m")

        async def main():
            stuck = asyncio.create_task(asyncio.Event().wait(), name="stuck")
            asyncio.create_task(bad(), name="the bad one")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gc.collect()

        asyncio.run(main())
        """,
        "--flight",
        "made/flights",
    )
    flight = only(programs.folder / "made" / "flights")
    assert flight.kind == "failure"
    assert flight.why.startswith("task 'the bad one' has failed and nobody handled it: ValueError: no such page")
    assert flight.tasks["the bad one"]["state"] == "failed" and "stuck" in flight.tasks
    (line,) = said_of_flights(said)
    assert flight.why in line and f"segue view {flight.path}" in line and "\x1b" not in line
    assert "Task exception was never retrieved" in said.err, "asyncio's own report comes too"


def test_an_exception_that_ends_the_run_and_what_ends_a_program_on_purpose(programs: Programs) -> None:
    program = """
        import asyncio

        async def main():
            raise {}

        asyncio.run(main())
    """
    said = programs.segue(program.format("OSError('the disk is full')"), "--flight", "flights")
    flight = only(programs.folder / "flights")
    assert (flight.kind, said.status) == ("end", 1)
    assert flight.why == "the run has ended with an exception: OSError: the disk is full"
    assert said.lines[-1] == "OSError: the disk is full" or said.lines[-1] == said_of_flights(said)[0]
    for meant in ("SystemExit(3)", "KeyboardInterrupt()"):
        said = programs.segue(program.format(meant), "--flight", f"none-{meant[:3]}")
        assert said.status != 0 and not said_of_flights(said)
        assert not flights(programs.folder / f"none-{meant[:3]}")


def test_a_blocked_loop_is_written_while_it_is_blocked(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, pathlib, time

        async def blocks():
            while not list(pathlib.Path("flights").glob("*.segue")):
                time.sleep(0.01)
            print("written meanwhile")

        async def main():
            await asyncio.create_task(blocks(), name="the blocker")

        asyncio.run(main())
        """,
        "--flight=flights",
        "--flight-stall=0.2",
    )
    assert said.out == "written meanwhile\n"
    flight = only(programs.folder / "flights")
    assert flight.kind == "stall"
    assert flight.why.startswith("the event loop has been blocked for ")
    assert flight.why.endswith(" by task 'the blocker' (blocks)")
    blocker = flight.tasks["the blocker"]
    assert blocker["state"] == "running" and blocker["busy"] > 100_000_000
    assert [event["how"] for event in flight.events if event["kind"] == "step"][-1] == "runs on"


def test_native_code_that_holds_the_gil(programs: Programs) -> None:
    program = HOLDS_THE_GIL + """
    import asyncio

    async def blocks():
        native_code()

    async def main():
        print("runs", flush=True)
        await asyncio.create_task(blocks(), name="the blocker")
        print("goes on", flush=True)

    asyncio.run(main())
    """
    with running(programs, program, "--flight", "flights", "--flight-stall", "0.2") as process:
        until(lambda: list((programs.folder / "flights").glob("*.segue")))
        flight = only(programs.folder / "flights")
        assert flight.why.endswith(" by task 'the blocker' (blocks)")
        assert flight.tasks["the blocker"]["state"] == "running"
        process.send_signal(signal.SIGUSR2)
        by_signal = until(lambda: flights(programs.folder / "flights")[1:])[0]
        assert by_signal.kind == "signal" and by_signal.tasks["the blocker"]["state"] == "running"
        out, err = process.communicate("x", timeout=PATIENCE)
    assert (out, process.returncode) == ("goes on\n", 0)
    assert len([line for line in err.splitlines() if line.startswith("segue: ")]) == 2


def test_another_thread_that_holds_the_gil(programs: Programs) -> None:
    program = HOLDS_THE_GIL + """
    import asyncio, threading

    async def main():
        for _ in range(3):
            await asyncio.sleep(0.01)
        thread = threading.Thread(target=native_code)
        print("runs", flush=True)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)

    asyncio.run(main())
    """
    with running(programs, program, "--flight", "flights", "--flight-stall", "0.2") as process:
        flight = until(lambda: flights(programs.folder / "flights"))[0]
        assert "blocked for" in flight.why
        process.communicate("x", timeout=PATIENCE)
    assert process.returncode == 0


def test_a_deadline_that_passes_is_written_while_the_block_still_runs(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, pathlib, segue

        async def order():
            with segue.flight.deadline(0.05, "handle order"):
                while not list(pathlib.Path("flights").glob("*.segue")):
                    await asyncio.sleep(0.01)
            print("still inside")

        async def main():
            with segue.flight.deadline(100):
                await asyncio.create_task(order(), name="order 17")

        asyncio.run(main())
        """,
        "--flight",
        "flights",
        "--flight-stall",
        "0",
    )
    assert said.out == "still inside\n"
    flight = only(programs.folder / "flights")
    assert (flight.kind, flight.why) == ("deadline", "handle order in task 'order 17' took longer than 0.05 s")
    assert flight.tasks["order 17"]["state"] in ("running", "ready", "waiting")


def test_a_deadline_passes_while_native_code_holds_the_gil(programs: Programs) -> None:
    program = HOLDS_THE_GIL + """
    import asyncio, segue

    async def main():
        with segue.flight("flights", stall=0):
            print("runs", flush=True)
            with segue.flight.deadline(0.1):
                native_code()

    segue.run(main())
    """
    with running(programs, program) as process:
        flight = until(lambda: flights(programs.folder / "flights"))[0]
        assert flight.why.startswith("the block at ") and "app.py:" in flight.why
        process.communicate("x", timeout=PATIENCE)


def test_deadlines_that_are_met_and_those_without_a_recorder_do_nothing(tmp_path: Path) -> None:
    with segue.flight.deadline(0):
        pass
    assert segue.flight.write() is None
    with segue.flight(tmp_path) as recorder:
        for _ in range(100):
            with segue.flight.deadline(1000, "quick"):
                pass
        with pytest.raises(ZeroDivisionError), segue.flight.deadline(1000):
            raise ZeroDivisionError
        assert recorder.counts()["lost"] == 0
    assert not list(tmp_path.iterdir())


def test_a_signal_is_handed_on_to_the_handler_that_was_there(programs: Programs) -> None:
    program = """
    import asyncio, os, signal, sys, segue

    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("mine"))

    async def main():
        print("runs", flush=True)
        while not seen:
            await asyncio.sleep(0.01)
        print(*seen, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    with segue.flight("flights", signal=signal.SIGUSR1):
        segue.run(main())
    os.kill(os.getpid(), signal.SIGUSR1)
    print(*seen)
    """
    with running(programs, program) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        assert until(lambda: flights(programs.folder / "flights"))[0].kind == "signal"
        process.send_signal(signal.SIGUSR1)  # each one is a file: whoever sends it wants it
        until(lambda: len(flights(programs.folder / "flights")) == 2)
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == "mine mine mine\n", "the program's handler is there as before"


def test_a_handler_that_the_program_sets_later_is_the_programs_and_that_is_said(programs: Programs) -> None:
    program = """
    import asyncio, signal

    async def main():
        seen = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, seen.set)
        print("runs", flush=True)
        await seen.wait()
        print("the program's", flush=True)

    asyncio.run(main())
    """
    with running(programs, program, "--flight", "flights") as process:
        assert process.stderr is not None
        assert "handles the flight recorder's signal itself" in process.stderr.readline()
        process.send_signal(signal.SIGUSR2)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("the program's\n", 0)
    assert not flights(programs.folder / "flights")


# ---- what is in the files, and how many there are --------------------------------------------------------------------


def test_a_file_has_the_last_seconds_and_what_was_there_before(tmp_path: Path) -> None:
    async def holds(lock: segue.Lock) -> None:
        async with lock:
            await segue.sleep(1000)

    async def waits(lock: segue.Lock) -> None:
        async with lock:
            pass

    async def passes() -> None:
        await segue.sleep(0)

    async def main() -> None:
        lock = segue.Lock()
        async with segue.open_nursery() as nursery:
            nursery.start_soon(holds, lock, name="holder")
            nursery.start_soon(waits, lock, name="stuck")
            nursery.start_soon(passes, name="early")
            await segue.sleep(0.5)
            nursery.start_soon(passes, name="late")
            await segue.sleep(0.01)
            segue.flight.write("enough")
            nursery.cancel_scope.cancel()

    with segue.flight(tmp_path, seconds=0.2):
        segue.run(main())
    flight = only(tmp_path)
    assert (flight.kind, flight.why) == ("asked", "enough")
    assert "early" not in flight.tasks and flight.tasks["late"]["state"] == "finished"
    stuck = flight.tasks["stuck"]
    assert (stuck["state"], stuck["waits_for"]["what"], stuck["begin"]) == ("waiting", "Lock.acquire", 0)
    assert stuck["waits_for"]["holders"] == [flight.tasks["holder"]["id"]]
    assert stuck["nursery"]["scope"] == flight.tasks["holder"]["nursery"]["scope"]
    assert stuck["started_at"]["function"].endswith("main") and not stuck["start_is_known"]
    assert flight.summary["duration"] / 1e9 < 0.45
    assert flight.summary["started"] > time.time() - PATIENCE


def test_memory_bounds_a_file_and_what_is_left_out_is_the_oldest(tmp_path: Path) -> None:
    async def work() -> None:
        await segue.sleep(0)

    async def main() -> Path | None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep_forever, name="there all the time")
            for number in range(15_000):
                async with segue.open_nursery() as inner:
                    inner.start_soon(work, name=f"work {number}")
                if number % 500 == 0:  # so that the recorder's thread comes to it
                    await segue.sleep(0.03)
            nursery.cancel_scope.cancel()
        return segue.flight.write()

    with segue.flight(tmp_path, seconds=1000, memory="2M", stall=0) as recorder:
        path = segue.run(main())
        assert path is not None
        counts = recorder.counts()
    flight = Flight(path)
    assert counts["lost"] == 0 and counts["written"] * 32 > 4 << 20
    assert {"work 14999", "there all the time"} <= flight.tasks.keys() and "work 0" not in flight.tasks
    assert 1 << 20 < len(flight.events) * 32 < 2 << 20


def test_a_loop_that_fails_all_the_time_writes_one_file_a_while(programs: Programs) -> None:
    program = """
    import asyncio, segue

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(context))
        for number in range(200):
            loop.call_soon(lambda: 1 / 0)
            await asyncio.sleep(0)
        while segue.flight.write("the end") is None:
            pass

    seen = []
    with segue.flight("flights"{}):
        segue.run(main())
    print(len(seen))
    """
    said = programs.python(program.format(""))
    kinds = [flight.kind for flight in flights(programs.folder / "flights")]
    assert (said.out, kinds) == ("200\n", ["failure", "asked"])
    assert len(said_of_flights(said)) == 2
    # Without a pause each of them is written, and the newest are kept.
    said = programs.python(program.format("2', pause=0, keep=3").replace('flights"2\'', 'flights2"'))
    found = flights(programs.folder / "flights2")
    assert [flight.kind for flight in found] == ["failure", "failure", "asked"]
    assert len(said_of_flights(said)) == 201


def test_killed_while_it_writes_there_is_no_half_file(programs: Programs) -> None:
    program = """
    import asyncio, segue, threading

    async def main():
        for _ in range(300_000):
            await asyncio.sleep(0)
        print("runs", flush=True)
        while True:
            await asyncio.to_thread(segue.flight.write)

    with segue.flight("flights", stall=0, keep=5):
        segue.run(main())
    """
    folder = programs.folder / "flights"
    with running(programs, program) as process:
        until(lambda: len(list(folder.glob("*.segue"))) >= 2)
        unfinished = until(lambda: list(folder.glob(".*.part")))
        process.kill()
        process.wait()
    for flight in flights(folder):  # each of them is whole
        assert len(flight.events) > 300_000
    left = list(folder.glob(".*.part"))
    assert len(left) <= 1 and unfinished
    assert all(segue_file.name.endswith(".segue") for segue_file in folder.glob("[!.]*"))


def test_all_loops_of_all_threads_are_in_it(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, threading

        async def fails():
            raise LookupError("in a thread")

        async def in_thread():
            mine = asyncio.create_task(asyncio.sleep(1000), name="in the thread")
            await asyncio.sleep(0.01)
            await asyncio.create_task(fails(), name="fails")

        def thread():
            try:
                asyncio.run(in_thread())
            except LookupError:
                pass

        async def main():
            other = asyncio.create_task(asyncio.sleep(1000), name="in the main thread")
            await asyncio.to_thread(thread)

        asyncio.run(main())
        """,
        "--flight",
        "flights",
    )
    assert said.status == 0
    flight = only(programs.folder / "flights")
    assert flight.why == "the run has ended with an exception: LookupError: in a thread"
    assert {"in the thread", "fails", "in the main thread"} <= flight.tasks.keys()
    assert len({flight.tasks[name]["id"].partition(".")[0] for name in ("fails", "in the main thread")}) == 2


# ---- processes -------------------------------------------------------------------------------------------------------


def test_a_forked_child_has_no_recorder_until_it_starts_one(programs: Programs) -> None:
    said = programs.python(
        """
        import os, signal, segue, warnings
        warnings.simplefilter("ignore")  # of threads and fork: the child runs a loop of its own only

        with segue.flight("flights"):
            segue.run(segue.sleep(0))
            pid = os.fork()
            if pid == 0:
                assert segue.flight.write() is None
                with segue.flight("flights-of-the-child"):
                    segue.run(segue.sleep(0))
                    assert segue.flight.write("the child's") is not None
                signal.alarm(30)
                os.kill(os.getpid(), signal.SIGUSR2)  # nobody handles it any more
                os._exit(1)
            status = os.waitpid(pid, 0)[1]
            assert os.WTERMSIG(status) == signal.SIGUSR2, status
            segue.run(segue.sleep(0))
            assert segue.flight.write("the parent's") is not None
        """
    )
    assert said.status == 0, said.err
    assert only(programs.folder / "flights-of-the-child").why == "the child's"
    mine = only(programs.folder / "flights")
    assert mine.why == "the parent's" and len(mine.summary["loops"]) >= 1


def test_children_that_python_starts_write_to_the_same_folder(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, subprocess, sys

        async def main():
            if not sys.argv[1:]:
                await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "segue", "run", __file__, "child"])
            raise ValueError(*sys.argv[1:])

        asyncio.run(main())
        """,
        "--flight",
        "flights",
    )
    assert said.status == 1
    found = flights(programs.folder / "flights")
    assert sorted(flight.why for flight in found) == [
        "the run has ended with an exception: ValueError",
        "the run has ended with an exception: ValueError: child",
    ]
    assert len({flight.summary["pid"] for flight in found}) == 2


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--flight", "a", "--record", "b"], "leave out --flight"),
        (["--flight-stall", "1"], "--flight-stall needs --flight FOLDER"),
        (["--flight", "a", "--flight-seconds", "0"], "--flight-seconds 0: seconds must be a number of seconds, above"),
        (["--flight", "a", "--flight-seconds", "nan"], "--flight-seconds nan: "),
        (["--flight", "a", "--flight-stall=soon"], "--flight-stall soon: "),
        (["--flight", "a", "--flight-signal", "SIGNOTHING"], "--flight-signal SIGNOTHING: no signal of that name"),
        (["--flight", "a", "--flight-signal", "9"], "--flight-signal 9: no program can catch that signal"),
    ],
)
def test_options_that_make_no_sense(programs: Programs, options: list[str], complaint: str) -> None:
    said = programs.segue("print('never runs')", *options)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("segue run: ") and complaint in said.err
    assert not (programs.folder / "a").exists()


def test_only_one_recording_at_a_time_and_bad_arguments(tmp_path: Path) -> None:
    with segue.flight(tmp_path / "a"):
        with pytest.raises(RuntimeError, match="running already"):
            segue.record(tmp_path / "b.segue").start()
        with pytest.raises(RuntimeError, match="running already"):
            segue.flight(tmp_path / "b").start()
        assert segue.flight.write() is not None
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        segue.flight(tmp_path / "file").start()
    for wrong in ({"seconds": 0}, {"stall": -1}, {"pause": float("nan")}, {"keep": 0}, {"memory": "much"}):
        with pytest.raises(ValueError):
            segue.flight(tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="signal 9 can't be used"):
        segue.flight(tmp_path, signal=9).start()
    with pytest.raises(RuntimeError, match="doesn't run"):
        segue.flight(tmp_path).counts()
    # Nothing of what failed is left.
    with segue.record(tmp_path / "a.segue"):
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_what_can_not_be_written_is_said_and_the_program_goes_on(programs: Programs) -> None:
    said = programs.python(
        textwrap.dedent("""
        import os, segue, shutil

        async def main():
            shutil.rmtree("flights")
            segue._flight._running._recorder.note("something failed", False)
            try:
                segue.flight.write()
            except OSError as error:
                print(type(error).__name__, os.path.basename(error.filename))

        with segue.flight("flights"):
            segue.run(main())
        """)
    )
    assert (said.out, said.status) == ("FileNotFoundError flights\n", 0)
    first, second = said_of_flights(said)
    assert "something failed, but the flight recording could not be written to" in first
    assert "No such file or directory" in second
