"""`segue run --warn` and `segue.inspect.warnings()`: where warnings are shown. What is found is in tests/zoo."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import segue
import segue.inspect

BUG = """\
import asyncio, sys, time

async def poll():
    time.sleep(0.15)

async def main():
    await asyncio.create_task(poll(), name="poller")
    print("done")

asyncio.run(main())
sys.exit(3)
"""


def run(folder: Path, program: str, *options: str, **environment: str) -> tuple[int, str, str]:
    (folder / "app.py").write_text(program)
    command = [sys.executable, "-m", "segue", "run", *options, "app.py"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_a_warning_is_printed_at_the_end_and_the_exit_status_stays(tmp_path: Path) -> None:
    status, out, error = run(tmp_path, BUG, "--warn")
    assert (status, out) == (3, "done\n")
    lines = error.splitlines()
    assert lines[0] == "segue: 1 warning"
    assert lines[1].startswith("app.py:4: blocking-call: ") and lines[1].endswith("[poller]")
    assert lines[3] == "    Instead: Write `await asyncio.sleep(...)`."


def test_a_program_without_loop_and_one_without_bugs(tmp_path: Path) -> None:
    assert run(tmp_path, "print(1)", "--warn") == (0, "1\n", "")
    clean = "import asyncio\nasyncio.run(asyncio.sleep(0))"
    assert run(tmp_path, clean, "--warn") == (0, "", "segue: no warnings\n")


def test_children_say_nothing(tmp_path: Path) -> None:
    program = f"""\
import asyncio, subprocess, sys
subprocess.run([sys.executable, "-c", {BUG!r}])
asyncio.run(asyncio.sleep(0))
"""
    status, out, error = run(tmp_path, program, "--warn")
    assert (status, out, error) == (0, "done\n", "segue: no warnings\n")


def test_a_recording_has_them_too(tmp_path: Path) -> None:
    _, _, error = run(tmp_path, BUG, "--record", "app.segue", "--warn")
    assert error.startswith("segue: 1 warning\napp.py:4: blocking-call: ")
    [found] = json.loads(segue._core.OpenedRecording(str(tmp_path / "app.segue")).answer("warnings"))
    assert (found["code"], found["name"], found["place"]["line"]) == ("blocking-call", "poller", 4)


def test_a_recording_without_a_watch_says_how_many_its_events_tell(tmp_path: Path) -> None:
    program = """\
import segue

async def both(one, other, met):
    async with one:
        await met.wait()
        async with other:
            pass

async def main():
    a, b, met = segue.Lock(), segue.Lock(), segue.Event()
    with segue.move_on_after(0.2):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(both, a, b, met)
            nursery.start_soon(both, b, a, met)
            await segue.sleep(0.01)
            met.set()

segue.run(main())
"""
    _, _, error = run(tmp_path, program, "--record", "app.segue")
    assert error == f"segue: 1 warning (deadlock); `segue view {tmp_path / 'app.segue'}` shows them\n"


def originals() -> list[Any]:
    kinds = [asyncio.Lock, asyncio.Semaphore, asyncio.Event, asyncio.Condition, asyncio.Barrier, asyncio.Queue]
    loop = asyncio.BaseEventLoop
    names = ["call_exception_handler", "run_in_executor", "shutdown_asyncgens"]
    return [dict(vars(kind)) for kind in kinds] + [vars(loop)[name] for name in names] + [asyncio.tasks._wait]  # type: ignore[attr-defined]


def test_inside_of_the_program_and_everything_is_put_back(tmp_path: Path) -> None:
    before = originals()
    found: list[segue.inspect.Warning] = []

    async def poll() -> None:
        time.sleep(0.15)

    async def main() -> None:
        await asyncio.create_task(poll(), name="poller")
        found.extend(segue.inspect.warnings())

    with segue.record(tmp_path / "app.segue", warn=True):
        segue.run(main())
    assert originals() == before
    [warning] = found
    assert (warning.code, warning.task, warning.count) == ("blocking-call", "poller", 1)
    assert warning.place is not None and Path(warning.place.file).name == "test_warnings.py"
    assert warning.place.function.endswith("poll")
    with pytest.raises(RuntimeError, match="no recording runs"):
        segue.inspect.warnings()


def test_a_watched_program_behaves_as_without(tmp_path: Path) -> None:
    """Results, errors and order of what asyncio's locks and queues do."""
    program = textwrap.dedent(
        """
        import asyncio

        async def worker(name, lock, queue, log):
            while (item := await queue.get()) is not None:
                async with lock:
                    log.append((name, item))
                    await asyncio.sleep(0)
                queue.task_done()

        async def main():
            lock, queue, log = asyncio.Lock(), asyncio.Queue(2), []
            workers = [asyncio.create_task(worker(n, lock, queue, log)) for n in "ab"]
            for item in [1, 2, 3, 4, 5, None, None]:
                await queue.put(item)
            await asyncio.gather(*workers)
            print(log, lock, queue.qsize())
            for call in (lock.release, queue.get_nowait):
                try:
                    call()
                except Exception as e:
                    print(type(e).__name__, e)
            try:
                await asyncio.wait_for(asyncio.Condition().wait(), 0.01)
            except RuntimeError as e:
                print(e)

        asyncio.run(main())
        """
    )
    watched, plain = run(tmp_path, program, "--warn"), run(tmp_path, program)
    assert plain[0] == 0
    steady = [out.partition("<")[0] + out.partition(">")[2] for _, out, _ in (watched, plain)]
    assert steady[0] == steady[1]
