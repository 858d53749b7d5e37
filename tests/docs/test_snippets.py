"""Every program in README.md and docs/ runs on Segue and prints what its page says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import HOME, PORT, PROJECT, Session, pages, programs, same, sessions

TIMEOUT = 60  # seconds; what hangs fails
_MARK = "\x1eend of command, status "

PAGES = pages()
SESSIONS = [session for page in PAGES for session in sessions(page)]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `segue` and `python` for the interpreter that runs the tests, whatever is on PATH."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in {"segue": f"{sys.executable} -m segue", "python": sys.executable}.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        file.chmod(0o755)
    return folder


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def run(session: Session, folder: Path, commands: Path) -> list[tuple[str, int]]:
    """What each command printed (both streams, as on a terminal) and its exit status."""
    port = free_port()
    for name, text in session.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(PORT, port), encoding="utf-8")
    script = "exec 2>&1\n"
    for command in session.commands:
        script += command.line.replace(PORT, port) + f"\nprintf '{_MARK}%d\\n' $?\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        # It is here for a test of Segue's own plugin; who reads the pages need not have it.
        "PYTEST_ADDOPTS": "-p no:asyncio",
        "PYTHONUNBUFFERED": "1",  # both streams in the order of a terminal
        "PYTHON_COLORS": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
        check=False,
    )
    output = done.stdout.decode().replace(str(folder), HOME).replace(port, PORT)
    found = re.findall(rf"(.*?){_MARK}(\d+)\n", output, re.DOTALL)
    assert len(found) == len(session.commands), output
    return [(printed, int(status)) for printed, status in found]


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_session(session: Session, tmp_path: Path, commands: Path) -> None:
    for need in session.needs:
        if not need.is_met():
            pytest.skip(str(need))
    for command, (printed, status) in zip(session.commands, run(session, tmp_path, commands), strict=True):
        assert same(command.expected, printed), (
            f"{session.name}: `{command.line}` should print\n\n{command.expected}\nbut printed\n\n{printed}"
        )
        if "Traceback (most recent call last):" not in command.expected:
            assert status == 0, f"{session.name}: `{command.line}` ended with status {status}:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_program_is_run(page: Path) -> None:
    commands = [(session.line, command.line) for session in sessions(page) for command in session.commands]
    for name, line in programs(page).items():
        stem = name.removesuffix(".py")
        used = any(where > line and re.search(rf"\b{stem}\b", command) for where, command in commands)
        used |= any(re.search(rf"\bimport {stem}\b|\bfrom {stem} import\b", text) for text in _texts(page))
        assert used, f"{page.relative_to(PROJECT)}:{line}: nothing runs {name}"


def _texts(page: Path) -> list[str]:
    return [text for session in sessions(page) for text in session.files.values()]


def test_comparison_notices_differences() -> None:
    assert same("took 0.31 s\nat 0x7f12\n", "took 0.29 s\nat 0x55aa\n")
    assert same("one\n...\nthree\n", "one\ntwo\n2b\nthree\n")
    assert same("  x = 1 / 0\n      ~~^~~\nZeroDivisionError\n", "  x = 1 / 0\nZeroDivisionError\n")
    assert not same("one\nthree\n", "one\ntwo\nthree\n")
    assert not same("3 pages\n", "4 pages\n")
    assert not same("", "something\n")
