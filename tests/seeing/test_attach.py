"""Looking into running programs: processes under `segue run`, unmodified, idle and blocked in every way there is."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looked_into import PROGRAMS, cli, running, socket_of
from segue._cli import attach

pytestmark = pytest.mark.timeout(120)


def line_of(text: str) -> int:
    """The number of the programs' line that has this text."""
    (found,) = [number for number, line in enumerate(PROGRAMS.read_text().splitlines(), 1) if text in line]
    return found


def wait_until(is_so: Callable[[], Any]) -> Any:
    """What `is_so` says once that is true; how long that takes says nothing."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it never was so")


@pytest.mark.parametrize("how", ["idle", "sleep", "busy", "native"])
def test_the_tree_names_every_task_with_what_it_waits_for_and_where(how: str) -> None:
    with running(how) as program:
        tree = cli("tree", str(program.pid))
    for name in ("main", "holds", "wants", "10 × ticks"):
        assert name in tree, tree
    assert "a lock" in tree, tree
    assert f"{PROGRAMS.name}:{line_of('await segue.Event().wait()')}" in tree, tree
    assert f"{PROGRAMS.name}:{line_of('await asyncio.sleep(0.05)')}" in tree, tree


@pytest.mark.parametrize(
    ("how", "line"), [("sleep", "time.sleep(1000)"), ("busy", "sum(range(100))"), ("native", "usleep(1_000_000_000)")]
)
def test_what_blocks_the_loop_is_told_while_it_blocks(how: str, line: str) -> None:
    with running(how) as program:
        pid = str(program.pid)
        told = wait_until(lambda: [line for line in cli("tree", pid).splitlines() if "is blocked" in line])[0]
        again = cli("stuck", str(program.pid), "--longer-than", "0.2", status=3)
    if how == "native":
        # No line is guessed: only where the coroutine is that called it, read of its memory.
        assert "native code that holds the GIL" in told and "its line can't be told" in told, told
        assert f":{line_of(line)} in is_native" in told, told
    else:
        number = line_of(line)
        assert f":{number} in " in told or f":{number - 1} in " in told, told
    assert "loop 1 is blocked" in again
    assert "held by holds" in again, again


def test_what_is_stuck_is_told_at_once_with_its_chain() -> None:
    with running("idle") as program:
        time.sleep(0.5)
        told = cli("stuck", str(program.pid), "--longer-than", "0.4", status=3)
        lines = told.splitlines()
        wants = next(at for at, line in enumerate(lines) if "wants #" in line)
        assert "waits for a lock" in lines[wants] and "held by holds" in lines[wants + 1], told
        assert "an event" in lines[wants + 1], told
        assert "ticks" not in told, told
        nothing = cli("stuck", str(program.pid), "--longer-than", "1000")
        assert "nothing has waited longer" in nothing
        answer = json.loads(cli("stuck", str(program.pid), "--longer-than", "0.4", "--json", status=3))
        assert answer["chains"] and answer["attached"] is True


def test_the_tree_as_json_and_in_ascii() -> None:
    with running("idle") as program:
        tree = json.loads(cli("tree", str(program.pid), "--json"))
        plain = cli("tree", str(program.pid), "--ascii", "--all")
        filtered = cli("tree", str(program.pid), "--filter", "wants")
    (main,) = tree["tasks"]
    assert main["coroutine"] == "main" and main["children"]
    assert plain.isascii() and plain.count("ticks") == 10, plain
    assert "wants" in filtered and "main" in filtered and "ticks" not in filtered


def test_names_do_not_act_on_the_terminal() -> None:
    with running("idle") as program:
        tree = cli("tree", str(program.pid), "--filter", "rings")
    assert "\x1b" not in tree and "rings" in tree and "[2J" in tree, tree


def test_tasks_of_a_program_that_nobody_looked_into_before_native_code_held_the_gil() -> None:
    with running("native") as program, attach.connect(program.pid) as looking:

        def is_blocked() -> bool:
            looking.ask("program")
            return bool(looking.loops and looking.loops[0]["blocked"])

        wait_until(is_blocked)
        first = looking.ask("tasks")
        assert looking.attached is False and looking.is_placeless is False
        known = {task["coroutine"] for task in first["tasks"]}
        assert known == {"main", "holds", "wants", "ticks", "is_native", "sleep_forever"}


def test_a_task_is_cancelled_and_its_stack_is_shown() -> None:
    with running("idle") as program, attach.connect(program.pid) as looking:
        (wants,) = looking.ask("tasks", filter="wants")["tasks"]
        stack = looking.ask("stack", id=wants["id"])
        assert [frame["function"] for frame in stack["frames"]][:1] == ["wants"]
        looking.ask("cancel", id=wants["id"])
        ended = wait_until(
            lambda: [task for task in looking.ask("tasks", filter="wants")["tasks"] if task["state"] == "cancelled"]
        )
        assert "outside" in ended[0]["cancelled_by"]["why"], ended
        with pytest.raises(attach.Refused, match="no longer there"):
            looking.ask("stack", id=wants["id"])
        with pytest.raises(attach.Refused, match="no question"):
            looking.ask("what")


def test_two_look_at_once_and_the_last_to_leave_ends_the_recording() -> None:
    with running("idle") as program:
        with attach.connect(program.pid) as one:
            before = one.ask("summary")["events"]
            with attach.connect(program.pid) as two:
                assert two.ask("summary")["tasks"] == one.ask("summary")["tasks"]
            wait_until(lambda: one.ask("summary")["events"] > before)
        # Nobody looks: who comes next begins anew.
        time.sleep(0.3)
        with attach.connect(program.pid) as three:
            assert three.ask("summary")["loops"][0]["turns"] < 10


def test_looking_beside_a_recording_leaves_the_recording_whole(tmp_path: Path) -> None:
    file = tmp_path / "run.segue"
    with running("idle", command=("run", "--record", str(file), str(PROGRAMS))) as program:
        with attach.connect(program.pid) as looking:
            assert looking.ask("summary")["outcomes"]["pending"] >= 12
            wait_until(lambda: looking.ask("summary")["events"] > 200)
        os.kill(program.pid, signal.SIGINT)
        program.wait()
    import segue._core

    recorded = json.loads(segue._core.OpenedRecording(str(file)).answer("summary", "{}"))
    assert recorded["complete"] and recorded["lost"] == 0
    tasks = json.loads(segue._core.OpenedRecording(str(file)).answer("tasks", "{}"))["tasks"]
    assert all(task["start_is_known"] and task["end"] is not None for task in tasks)
    assert [task["coroutine"] for task in tasks].count("ticks") == 10


# ---- the socket ----------------------------------------------------------------------------------------------------


def test_the_socket_is_private_and_gone_at_exit() -> None:
    with running("idle") as program:
        path = socket_of(program.pid)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        os.kill(program.pid, signal.SIGINT)
        program.wait()
        assert not path.exists()


def test_sockets_that_killed_programs_left_are_removed_by_the_next() -> None:
    with running("idle") as program:
        left = socket_of(program.pid)
    assert left.exists()
    with running("idle"):
        assert not left.exists()
    assert f"no process {program.pid}" in cli("tree", str(program.pid), status=1)


def test_a_folder_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    elsewhere, base = tmp_path / "elsewhere", tmp_path / "base"
    elsewhere.mkdir()
    base.mkdir()
    (base / "segue").symlink_to(elsewhere)
    # The program runs as it would; it can't be looked into.
    with running("idle", XDG_RUNTIME_DIR=str(base)) as program:
        assert not list(elsewhere.iterdir())
        assert "can't be looked into" in cli("tree", str(program.pid), status=1)


def test_the_runtime_folder_of_the_program_is_found(tmp_path: Path) -> None:
    with running("idle", XDG_RUNTIME_DIR=str(tmp_path)) as program:
        assert (tmp_path / "segue" / f"{program.pid}.sock").exists()
        assert "holds" in cli("tree", str(program.pid))


def test_running_programs_are_found_and_described() -> None:
    with running("idle") as one, running("sleep") as two:
        found = {about["pid"]: about for about in attach.running()}
        assert {one.pid, two.pid} <= found.keys()
        assert found[one.pid]["arguments"] == ["idle"] and found[one.pid]["tasks"] >= 12
        listed = cli("tree", status=1)
        assert "which one?" in listed and str(one.pid) in listed and str(two.pid) in listed
        # Asking what there is makes nobody record.
        with attach.connect(one.pid) as looking:
            looking.ask("program")
            assert looking.attached is False


def test_other_processes_are_refused_in_words() -> None:
    assert "doesn't run on Segue's loop" in cli("tree", "1", status=1)
    assert "is no process number" in cli("tree", "abc", status=1)
    plain = subprocess.Popen([sys.executable, "-c", "print('ready', flush=True); input()"], stdin=-1, stdout=-1)
    assert plain.stdout is not None
    plain.stdout.readline()
    assert "segue run" in cli("tree", str(plain.pid), status=1)
    plain.kill()
    plain.communicate()


@pytest.mark.parametrize("value", ["0", "1"])
def test_the_environment_decides(value: str) -> None:
    under_run = ("run", str(PROGRAMS))
    with running("idle", command=under_run, SEGUE_ATTACH=value) as program:
        can = "holds" in cli("tree", str(program.pid), status=None)
        assert can == (value == "1")


_ANOTHER_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
except PermissionError:
    print("no permission")
else:
    print(connection.recv(1000).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_by_the_folder_and_by_the_program(tmp_path: Path) -> None:
    def attempt(path: Path) -> str:
        command = [sys.executable, "-c", _ANOTHER_USER, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    with running("idle") as program:
        path = socket_of(program.pid)
        assert "no permission" in attempt(path)
        # Also if somebody opens folder and socket to all.
        path.parent.chmod(0o755)
        path.chmod(0o777)
        try:
            said = json.loads(attempt(path))
        finally:
            path.parent.chmod(0o700)
        assert "another user's" in said["refused"] and "answer" not in said
        # Nothing has begun for him.
        with attach.connect(program.pid) as looking:
            looking.ask("program")
            assert looking.attached is False


def test_garbage_is_refused_and_harms_nobody() -> None:
    with running("idle") as program, attach.connect(program.pid) as looking:
        path = str(socket_of(program.pid))
        for garbage in (
            b"\0\xff\xfe\n",
            b"[1, 2]\n",
            b"{" * 70_000,
            b'{"ask": 7}\n',
            b'{"ask": "tree", "arguments": 5}\n',
            b'{"ask": "' + b"x" * 70_000 + b'"}\n',
            b"[" * 60_000 + b"\n",
        ):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            connection.connect(path)
            try:
                connection.sendall(garbage)
                said = connection.makefile().readline()
            except (BrokenPipeError, ConnectionResetError):
                said = '{"refused": "it hung up"}'
            assert "refused" in json.loads(said), garbage[:20]
            connection.close()
        assert looking.ask("tasks", filter="ticks")["total"] == 10
        silent = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        for connection in silent:
            connection.connect(path)
        assert looking.ask("tasks", filter="ticks")["total"] == 10
        for connection in silent:
            connection.close()


def test_nothing_is_left_of_many_who_looked() -> None:
    def open_files(pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    def threads(pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/task"))

    def memory(pid: int) -> int:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def look(pid: int) -> None:
        with attach.connect(pid) as looking:
            looking.ask("rows")
            looking.ask("stuck")

    with running("idle") as program:
        pid = program.pid
        files, count = open_files(pid), threads(pid)
        memories = []
        for _ in range(4):
            for _ in range(100):
                look(pid)
            wait_until(lambda: (open_files(pid), threads(pid)) == (files, count))
            memories.append(memory(pid))
        # The C library may keep once what was freed; what stays each time makes every one of them larger.
        grown = [after - before for before, after in itertools.pairwise(memories)]
        assert min(grown) < 100 << 10, memories


# ---- programs that are more than one process, or end ---------------------------------------------------------------


def run_code(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segue", "run", *options, "-c", textwrap.dedent(code)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=env)


def test_a_fork_is_what_it_is_without_us_and_the_child_has_a_socket_of_its_own() -> None:
    done = run_code(
        """
        import asyncio, os, sys, threading
        from segue._cli import attach

        async def look():
            loop = asyncio.get_running_loop()
            def ask():
                with attach.connect(os.getpid()) as program:
                    return program.ask("tasks")["total"], program.ask("program")["pid"] == os.getpid()
            return await asyncio.to_thread(ask)

        async def parent():
            before = await look()
            pid = os.fork()
            if pid == 0:
                return 0
            return before, await look(), os.waitpid(pid, 0)[1]

        async def child():
            return await look()

        if __name__ == "__main__":
            loop = asyncio.new_event_loop()
            pid = os.fork()   # warns if there is a thread
            if pid == 0:
                print("child", asyncio.run(child()), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            print("parent", asyncio.run(child()))
        """,
        "-W",
        "error",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["child (1, True)", "parent (1, True)"], done.stdout + done.stderr
    assert done.stderr == ""


def test_processes_that_multiprocessing_starts_can_be_looked_into(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(
        textwrap.dedent(
            """
            import asyncio, multiprocessing, os, sys
            from segue._cli import attach

            def ask():
                with attach.connect(os.getpid()) as program:
                    return program.ask("tasks", filter={"state": "pending"})["total"]

            async def main():
                return await asyncio.to_thread(ask)

            def work(_):
                return asyncio.run(main())

            if __name__ == "__main__":
                for method in ("fork", "spawn", "forkserver"):
                    with multiprocessing.get_context(method).Pool(2) as pool:
                        print(method, pool.map(work, [1, 2, 3]), asyncio.run(main()))
            """
        )
    )
    command = [sys.executable, "-m", "segue", "run", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    expected = [f"{method} [1, 1, 1] 1" for method in ("fork", "spawn", "forkserver")]
    assert done.stdout.splitlines() == expected, done.stdout + done.stderr


def test_a_program_that_ends_is_told_to_who_looks() -> None:
    with running("idle") as program, attach.connect(program.pid) as looking:
        looking.ask("summary")
        os.kill(program.pid, signal.SIGINT)
        program.wait()
        with pytest.raises(attach.Unreachable, match="has ended"):
            for _ in range(3):
                looking.ask("summary")


def test_the_exit_of_a_program_in_native_code_is_not_held_up_by_who_looks() -> None:
    with running("native") as program, attach.connect(program.pid) as looking:
        looking.ask("rows")
        os.kill(program.pid, signal.SIGTERM)
        assert program.wait(timeout=60) == -signal.SIGTERM


def test_a_hundred_thousand_tasks() -> None:
    with running("many", "100000") as program:
        tree = cli("tree", str(program.pid))
        assert "100,001 tasks" in tree and "100,000 × Event.wait" in tree, tree
        stuck = cli("stuck", str(program.pid), "--longer-than", "0.01", status=3)
        assert "99,999 more tasks like it" in stuck, stuck
        assert len(tree.splitlines()) < 10


# ---- what it costs ---------------------------------------------------------------------------------------------------

_SWITCHES = """
import asyncio, gc, os, segue

gc.disable()  # what there is to collect differs

async def main(count):
    for _ in range(count):
        await asyncio.sleep(0)

segue.run(main({count}))
"""


def test_a_listener_that_nobody_uses_costs_nothing(tmp_path: Path) -> None:
    assert shutil.which("valgrind"), "valgrind counts the instructions: tests/install_servers.sh installs it"

    def instructions(count: int, attach: str) -> int:
        out = tmp_path / f"callgrind.{count}.{attach}"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable]
        environment = {**os.environ, "SEGUE_ATTACH": attach, "PYTHONHASHSEED": "0"}
        command += ["-c", _SWITCHES.format(count=count)]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=100)
        (total,) = [line for line in out.read_text().splitlines() if line.startswith("summary:")]
        return int(total.split()[1])

    # What one switch costs: the difference, so that the listener's own beginning doesn't count.
    costs = {attach: (instructions(5000, attach) - instructions(1000, attach)) / 4000 for attach in ("0", "1")}
    assert costs["1"] <= costs["0"] * 1.005, costs
