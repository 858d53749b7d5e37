"""Programs written for Trio: those of its tutorial and reference, retold, in `trio_programs/`.

Each runs under Trio itself, unchanged under `segue run --trio`, and with the one line changed that
docs/howto/from-trio.md says. What it prints, written at its end, is the same for all three.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from case import PYTHON, Case, Outcome, run, segue_command

FOLDER = Path(__file__).with_name("trio_programs")
# These two run together: see `test_an_echo_client_and_an_echo_server`.
TOGETHER = {"echo_client", "echo_server"}
WAYS = ("trio", "unchanged", "one line changed")

TASKS = (FOLDER / "tasks_intro.py").read_text()

FUNCTION = """
import trio

async def main():
    await trio.sleep(0)
    print(trio.__name__)
"""


def changed(text: str) -> str:
    """As someone does who moves a program to Segue."""
    text = re.sub(r"^import trio$", "from segue import trio", text, flags=re.M)
    return re.sub(r"^import trio\.", "import segue.trio.", text, flags=re.M)


def command(way: str, directory: Path, text: str) -> tuple[list[str], list[str], str]:
    """The interpreter's or Segue's command, what follows it, and the text of app.py."""
    if way == "unchanged":
        return segue_command(directory), ["run", "--trio", "app.py"], text
    return PYTHON, ["app.py"], changed(text) if way == "one line changed" else text


def expected(text: str) -> dict[str, list[str]]:
    """What stands at a program's end: "prints", "prints, in any order", "fails" or "warns" -> lines."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if (title := re.fullmatch(r"# (prints.*|fails|warns):", line)) is not None:
            lines = found[title[1]] = []
        elif found:
            lines.append(line.removeprefix("#     "))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in TOGETHER))
def test_a_program_of_trios_documentation(name: str, way: str, tmp_path: Path) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    start, argv, text = command(way, tmp_path, text)
    case = Case(name, argv, {"app.py": text})
    case.write(tmp_path)
    outcome = run(start, case, tmp_path)
    wanted = expected(text)
    printed = outcome.stdout.splitlines()
    if "prints" in wanted:
        assert printed == wanted["prints"]
    else:
        assert sorted(printed) == wanted["prints, in any order"]
    assert outcome.status == ("fails" in wanted)
    said = wanted.get("fails", []) + wanted.get("warns", [])
    assert all(line in outcome.stderr for line in said)
    assert said or not outcome.stderr


class Program:
    """A program that runs until it is told to stop."""

    def __init__(self, way: str, directory: Path, name: str, port: int) -> None:
        directory.mkdir(exist_ok=True)
        text = (FOLDER / f"{name}.py").read_text().replace("12345", str(port))
        start, argv, text = command(way, directory, text)
        (directory / "app.py").write_text(text)
        self.process = subprocess.Popen(
            [*start, *argv], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def read_until(self, text: str) -> list[str]:
        lines = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
        raise AssertionError(f"{text!r} was not printed, but {lines}: {self.process.stderr}")

    def end(self, by: signal.Signals | None) -> Outcome:
        if by is not None:
            self.process.send_signal(by)
        stdout, stderr = self.process.communicate(timeout=60)
        return Outcome(self.process.returncode, stdout, stderr)


@contextlib.contextmanager
def echo(way: str, directory: Path) -> Iterator[tuple[Program, Program]]:
    """The server and the client, connected."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Program(way, directory / "server", "echo_server", port)
    client = None
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.process.poll() is None
        server.read_until("echo_server 0: connection closed")
        client = Program(way, directory / "client", "echo_client", port)
        yield server, client
    finally:
        for program in (server, client):
            if program is not None:
                program.process.kill()
                program.process.communicate()


DATA = "b'async can sometimes be confusing, but I believe in you!'"


@pytest.mark.parametrize("way", WAYS)
def test_an_echo_client_and_an_echo_server(way: str, tmp_path: Path) -> None:
    with echo(way, tmp_path) as (server, client):
        lines = client.read_until("got data")
        assert lines[0].startswith("parent: connecting to 127.0.0.1:")
        assert lines[1:3] == ["parent: spawning sender...", "parent: spawning receiver..."]
        assert {"receiver: started!", "sender: started!", f"sender: sending {DATA}"} <= set(lines[3:-1])
        assert lines[-1] == f"receiver: got data {DATA}"
        client.read_until("got data")
        ended = client.end(signal.SIGINT)
        assert ended.status in (1, -signal.SIGINT) and "KeyboardInterrupt" in ended.stderr
        lines = server.read_until("connection closed")
        assert lines[0] == "echo_server 1: started" and lines[-1] == "echo_server 1: connection closed"
        assert set(lines[1:-1]) == {f"echo_server 1: received data {DATA}"}
        ended = server.end(signal.SIGINT)
        assert ended.status in (1, -signal.SIGINT) and "KeyboardInterrupt" in ended.stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_server_goes_and_the_client_exits_in_a_nursery(way: str, tmp_path: Path) -> None:
    with echo(way, tmp_path) as (server, client):
        client.read_until("got data")
        server.end(signal.SIGTERM)
        client.read_until("receiver: connection closed")
        ended = client.end(None)
        assert ended.status == 1 and "SystemExit" in ended.stderr


def run_for_trio(directory: Path, *argv: str, **more: object) -> Outcome:
    case = Case("", ["run", "--trio", *argv], **more)  # type: ignore[arg-type]
    case.write(directory)
    return run(segue_command(directory), case, directory)


@pytest.mark.parametrize("how", [["-I", "app.py"], ["-m", "app"]])
def test_other_ways_to_start(how: list[str], tmp_path: Path) -> None:
    assert run_for_trio(tmp_path, *how, files={"app.py": TASKS}).stdout.endswith("parent: all done!\n")


def test_a_function(tmp_path: Path) -> None:
    assert run_for_trio(tmp_path, "app:main", files={"app.py": FUNCTION}).stdout == "segue.trio\n"


def test_without_the_option_trio_is_what_is_installed(tmp_path: Path) -> None:
    case = Case("", ["run", "-c", "import sys; print('segue.trio' in sys.modules)"])
    assert run(segue_command(tmp_path), case, tmp_path).stdout == "False\n"


def test_what_segue_has_not_is_named(tmp_path: Path) -> None:
    outcome = run_for_trio(tmp_path, "-c", "import trio._core")
    assert outcome.status == 1
    assert "No module named 'trio._core'" in outcome.stderr and "segue.trio" in outcome.stderr
