"""A recording tells what happened: random programs on a virtual clock, compared with what an instrument saw of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import segue
import segue._core
import segue.trio
from hypothesis import HealthCheck, given, settings
from segue.testing import MockClock

sys.path.append(str(Path(__file__).parent.parent / "structured"))
from programs import Program, statements
from test_properties import Real


class Recorded:
    """A recording's file, read."""

    def __init__(self, path: Path) -> None:
        self.opened = segue._core.OpenedRecording(str(path))
        self.summary = self.ask("summary")
        self.tasks = self.ask("tasks", limit=1_000_000)["tasks"]
        self.tasks.sort(key=lambda task: [int(part) for part in task["id"].split(".")])
        lines = self.opened.export("jsonl").decode().splitlines()
        self.events = [json.loads(line) for line in lines[1:]]

    def ask(self, question: str, **arguments: Any) -> Any:
        return json.loads(self.opened.answer(question, json.dumps(arguments)))

    def story(self, task: dict[str, Any]) -> str:
        return "\n".join(sentence["text"] for sentence in self.ask("task", id=task["id"])["story"])

    def named(self, name: str) -> dict[str, Any]:
        (found,) = (task for task in self.tasks if name in (task["name"], task["coroutine"]))
        return found


class Watching(segue.abc.Instrument):
    """What happens to tasks, told by the loop itself."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []
        self.parents: list[Any] = []
        self.steps: dict[Any, int] = {}

    def task_spawned(self, task: Any) -> None:
        try:
            parent = asyncio.current_task()
        except RuntimeError:  # the first, made before the loop runs
            parent = None
        self.tasks.append(task)
        self.parents.append(parent)
        self.steps[task] = 0

    def before_task_step(self, task: Any) -> None:
        if task in self.steps:
            self.steps[task] += 1


def outcome(task: Any) -> str:
    if not task.done():
        return "pending"
    if task.cancelled():
        return "cancelled"
    return "failed" if task.exception() is not None else "finished"


@settings(
    max_examples=int(os.environ.get("SEGUE_EXAMPLES", 0)) or 150,
    derandomize="SEGUE_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(statements)
def test_random_programs_are_recorded_as_they_happened(tmp_path_factory: Any, body: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "random.segue"
    watching, program, real = Watching(), Program(body), Real()
    with segue.record(path):
        segue.trio.run(
            real.checked, program.run(real), clock=MockClock(autojump_threshold=0), instruments=[watching]
        )
    recorded = Recorded(path)
    assert recorded.summary["complete"] and recorded.summary["lost"] == 0
    tasks = recorded.tasks[len(recorded.tasks) - len(watching.tasks) :]
    ids = dict(zip(watching.tasks, (task["id"] for task in tasks), strict=True))

    for task, parent, found in zip(watching.tasks, watching.parents, tasks, strict=True):
        assert found["coroutine"] == task.get_coro().__qualname__
        assert found["state"] == outcome(task)
        assert found["steps"] == watching.steps[task]
        if parent in ids:
            assert found["parent"] == ids[parent]
        if found["state"] == "failed":
            assert type(task.exception()).__name__ in found["why"]

    written = [event["at"] + event.get("took", 0) for event in recorded.events]
    assert written == sorted(written)
    ends: dict[str, int] = {}
    running: dict[str, list[tuple[int, int]]] = {}
    for event in recorded.events:
        if event["kind"] == "finish":
            ends[event["task"]] = ends.get(event["task"], 0) + 1
        elif event["kind"] == "step":
            running.setdefault(event["task"], []).append((event["at"], event["at"] + event["took"]))
    assert set(ends.values()) <= {1}
    assert set(ends) == {task["id"] for task in recorded.tasks if task["end"] is not None}
    for event in recorded.events:
        if event["kind"] in ("wake", "cancel") and event.get("by"):
            assert any(begin <= event["at"] <= end for begin, end in running[event["by"]]), event
        if event["kind"] == "wake" and not event.get("by"):
            assert event["cause"] in ("I/O", "timer", "callback", "deadline", "thread"), event
        if event["kind"] == "cancel":
            assert event["source"], event


# ---- what a recording says of everyday programs ---------------------------------------------------------------------


def record(path: Path, main: Any) -> Recorded:
    with segue.record(path):
        segue.run(main)
    return Recorded(path)


def test_who_started_woke_and_cancelled_whom(tmp_path: Path) -> None:
    async def waits(event: asyncio.Event) -> None:
        await event.wait()

    async def sets(event: asyncio.Event) -> None:
        await asyncio.sleep(0)
        event.set()

    async def main() -> None:
        event = asyncio.Event()
        waiting = asyncio.create_task(waits(event), name="waiter")
        await asyncio.create_task(sets(event), name="setter")
        await waiting
        sleeper = asyncio.create_task(asyncio.sleep(100), name="sleeper")
        await asyncio.sleep(0)
        sleeper.cancel("enough")
        await asyncio.wait([sleeper])

    recorded = record(tmp_path / "a.segue", main())
    assert "until Task setter woke it" in recorded.story(recorded.named("waiter"))
    sleeper = recorded.named("sleeper")
    assert sleeper["state"] == "cancelled"
    assert "enough" in recorded.story(sleeper) and "test_recording.py" in recorded.story(sleeper)
    assert recorded.named("waiter")["started_at"]["function"].endswith("main")


def test_what_tasks_wait_for_is_told_with_its_place(tmp_path: Path) -> None:
    async def holder(lock: segue.Lock) -> None:
        async with lock:
            await asyncio.sleep(0.01)

    async def waiter(lock: segue.Lock) -> None:
        async with lock:
            pass

    async def main() -> None:
        lock = segue.Lock()
        async with segue.open_nursery() as nursery:
            nursery.start_soon(holder, lock, name="holder")
            nursery.start_soon(waiter, lock, name="waiter")

    recorded = record(tmp_path / "a.segue", main())
    (wait,) = (event for event in recorded.events if event["kind"] == "wait" and event.get("what") == "Lock.acquire")
    assert wait["place"]["function"].endswith("waiter")
    assert "holder" in recorded.story(recorded.named("waiter"))


def test_tasks_that_were_there_before_are_in_the_recording(tmp_path: Path) -> None:
    async def main() -> None:
        event = asyncio.Event()
        early = asyncio.create_task(event.wait(), name="early")
        await asyncio.sleep(0)
        with segue.record(tmp_path / "a.segue"):
            event.set()
            await early

    segue.run(main())
    recorded = Recorded(tmp_path / "a.segue")
    assert recorded.named("early")["state"] == "finished"


def test_only_one_recording_at_a_time_and_bad_arguments(tmp_path: Path) -> None:
    with segue.record(tmp_path / "a.segue"):
        with pytest.raises(RuntimeError, match="running already"):
            segue.record(tmp_path / "b.segue").start()
    with pytest.raises(FileNotFoundError, match="no-such-folder"):
        segue.record(tmp_path / "no-such-folder" / "a.segue").start()
    with pytest.raises(ValueError, match="is no size"):
        segue.record(tmp_path / "a.segue", memory="much")
    with pytest.raises(ValueError, match="at least"):
        segue.record(tmp_path / "a.segue", memory=100).start()
    # Nothing of what failed is left.
    with segue.record(tmp_path / "a.segue") as recording:
        assert recording.counts()["lost"] == 0


def test_the_flight_recorder_keeps_the_last_events_and_writes_them_when_asked(tmp_path: Path) -> None:
    async def work(number: int) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        for number in range(20_000):
            await asyncio.create_task(work(number), name=f"work {number}")
        recording.dump(tmp_path / "last.segue")

    with segue.record(memory="1M") as recording:
        segue.run(main())
        counts = recording.counts()
    assert counts["overwritten"] > 0 and counts["lost"] == 0
    recorded = Recorded(tmp_path / "last.segue")
    names = {task["name"] for task in recorded.tasks}
    assert "work 19999" in names and "work 0" not in names


def test_a_recording_of_several_threads_has_all_their_loops(tmp_path: Path) -> None:
    import threading

    async def main(name: str) -> None:
        await asyncio.create_task(asyncio.sleep(0.001), name=name)

    with segue.record(tmp_path / "a.segue"):
        threads = [threading.Thread(target=lambda n=n: segue.run(main(f"thread {n}"))) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    recorded = Recorded(tmp_path / "a.segue")
    assert len(recorded.summary["loops"]) == 4
    for n in range(4):
        assert recorded.named(f"thread {n}")["state"] == "finished"


PROGRAM = """
    import asyncio, os, sys, time

    async def work(i):
        await asyncio.sleep(0)

    async def main():
        print("runs", flush=True)
        while True:
            await asyncio.gather(*(work(i) for i in range(100)))
            await asyncio.sleep(0.001)

    asyncio.run(main())
"""


def segue_run(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "segue", "run", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_killed_programs_recording_is_read_up_to_the_last_whole_block(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(PROGRAM))
    path = tmp_path / "app.segue"
    with segue_run("--record", str(path), str(tmp_path / "app.py")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        while path.stat().st_size < 200_000:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    recorded = Recorded(path)
    assert not recorded.summary["complete"]
    assert recorded.summary["tasks"] > 100 and recorded.summary["outcomes"]["failed"] == 0


def test_a_damaged_recording_says_so_and_shows_what_can_be_read(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(10_000):
            await asyncio.create_task(asyncio.sleep(0))

    whole = record(tmp_path / "a.segue", main())
    data = bytearray((tmp_path / "a.segue").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "b.segue").write_bytes(data)
    damaged = Recorded(tmp_path / "b.segue")
    assert damaged.summary["damage"]
    assert 0 < len(damaged.events) < len(whole.events)
    for content in (b"", b"no recording at all, but some text"):
        (tmp_path / "c.segue").write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.segue: "):
            segue._core.OpenedRecording(str(tmp_path / "c.segue"))
    with pytest.raises(FileNotFoundError):
        segue._core.OpenedRecording(str(tmp_path / "d.segue"))


def test_segue_run_records_and_children_have_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        textwrap.dedent("""
            import asyncio, subprocess, sys

            async def child():
                print("child")

            async def main():
                process = await asyncio.create_subprocess_exec(sys.executable, __file__, "again")
                await process.wait()

            asyncio.run(child() if sys.argv[1:] else main())
        """)
    )
    with segue_run("--record", "app.segue", "app.py", cwd=tmp_path) as process:
        output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("child\n", "", 0)
    mine = Recorded(tmp_path / "app.segue")
    assert mine.summary["complete"] and mine.named("main")["state"] == "finished"


def test_a_forked_child_leaves_the_recording_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import asyncio, os, segue, warnings
                warnings.simplefilter("ignore")  # of threads and fork: the child runs a loop of its own only
                with segue.record({str(tmp_path / "a.segue")!r}):
                    segue.run(asyncio.sleep(0))
                    pid = os.fork()
                    if pid == 0:
                        segue.run(asyncio.sleep(0))
                        os._exit(0)
                    assert os.waitpid(pid, 0)[1] == 0
                    segue.run(asyncio.sleep(0))
            """),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    recorded = Recorded(tmp_path / "a.segue")
    assert recorded.summary["complete"] and len(recorded.summary["loops"]) == 2
