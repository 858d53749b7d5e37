"""`segue run --trio`: programs written for Trio, unchanged. They follow the steps of Trio's tutorial."""

from __future__ import annotations

from pathlib import Path

import pytest
from case import Case, Outcome, run, segue_command

TASKS = """
import trio

async def child1():
    print("  child1: started! sleeping now...")
    await trio.sleep(0.01)
    print("  child1: exiting!")

async def child2():
    print("  child2: started! sleeping now...")
    await trio.sleep(0.02)
    print("  child2: exiting!")

async def parent():
    print("parent: started!")
    async with trio.open_nursery() as nursery:
        print("parent: spawning child1...")
        nursery.start_soon(child1)
        print("parent: spawning child2...")
        nursery.start_soon(child2)
        print("parent: waiting for children to finish...")
    print("parent: all done!")

trio.run(parent)
"""

TRACER = """
import trio

class Tracer(trio.abc.Instrument):
    def before_run(self):
        print("!!! run started")
    def task_spawned(self, task):
        if task.name.endswith("child"):
            print("### new task spawned:", task.name)
    def before_task_step(self, task):
        if task.name.endswith("child"):
            print("### about to run one step of task:", task.name)
    def task_exited(self, task):
        if task.name.endswith("child"):
            print("### task exited:", task.name)
    def before_io_wait(self, timeout):
        assert timeout >= 0
    def after_run(self):
        print("!!! run finished")

async def child():
    await trio.lowlevel.checkpoint()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)

trio.run(main, instruments=[Tracer()])
"""

ECHO = """
import trio
from functools import partial

async def echo_server(server_stream):
    async for data in server_stream:
        await server_stream.send_all(data)

async def main():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo_server, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        client_stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with client_stream:
            await client_stream.send_all(b"async can sometimes be confusing")
            print(await client_stream.receive_some())
        nursery.cancel_scope.cancel()

trio.run(main)
"""

TESTS = """
import trio
from trio.testing import MockClock

async def main():
    started = trio.current_time()
    with trio.fail_after(7200):
        await trio.sleep(3600)
    print(trio.current_time() - started)

trio.run(main, clock=MockClock(autojump_threshold=0))
"""


def run_for_trio(directory: Path, *argv: str, **more: object) -> Outcome:
    case = Case("", ["run", "--trio", *argv], **more)  # type: ignore[arg-type]
    case.write(directory)
    return run(segue_command(directory), case, directory)


def test_tasks(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "app.py", files={"app.py": TASKS})
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[:4] == [
        "parent: started!",
        "parent: spawning child1...",
        "parent: spawning child2...",
        "parent: waiting for children to finish...",
    ]
    assert set(lines[4:6]) == {f"  child{n}: started! sleeping now..." for n in (1, 2)}
    assert lines[6:] == ["  child1: exiting!", "  child2: exiting!", "parent: all done!"]


def test_an_instrument(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "app.py", files={"app.py": TRACER})
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "!!! run started",
        "### new task spawned: __main__.child",
        "### about to run one step of task: __main__.child",
        "### about to run one step of task: __main__.child",
        "### task exited: __main__.child",
        "!!! run finished",
    ]


def test_an_echo_server(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "app.py", files={"app.py": ECHO})
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout == "b'async can sometimes be confusing'\n"


def test_a_clock(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "-c", TESTS)
    assert (outcome.status, outcome.stdout) == (0, "3600.0\n")


@pytest.mark.parametrize("how", [["-I", "app.py"], ["-m", "app"]])
def test_other_ways_to_start(how: list[str], tmp_path: Path) -> None:
    assert run_for_trio(tmp_path, *how, files={"app.py": TASKS}).stdout.endswith("parent: all done!\n")


def test_a_function(tmp_path: Path) -> None:
    files = {"app.py": "import trio\nasync def main():\n    await trio.sleep(0)\n    print(trio.__name__)\n"}
    assert run_for_trio(tmp_path, "app:main", files=files).stdout == "segue.trio\n"


def test_without_the_option_trio_is_what_is_installed(tmp_path: Path) -> None:
    case = Case("", ["run", "-c", "import sys; print('segue.trio' in sys.modules)"])
    assert run(segue_command(tmp_path), case, tmp_path).stdout == "False\n"


def test_what_segue_has_not_is_named(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "-c", "import trio._core")
    assert outcome.status == 1
    assert "No module named 'trio._core'" in outcome.stderr and "segue.trio" in outcome.stderr
