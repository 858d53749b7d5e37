"""Starting programs to look into, and looking."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from segue._cli import attach

PROGRAMS = Path(__file__).with_name("programs_to_look_into.py")


@contextlib.contextmanager
def running(
    *arguments: str, command: tuple[str, ...] = ("run", str(PROGRAMS)), **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A program under `segue run`, once it has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "segue", *command, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip() == "ready", f"the program said {line!r}"
        yield process
    finally:
        process.kill()
        process.communicate()


def cli(command: str, *arguments: str, status: int | None = 0) -> str:
    """What `segue COMMAND` prints on standard output, and on standard error where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "segue", command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def socket_of(pid: int) -> Path:
    (found,) = [path for path in map(Path, attach._paths(pid)) if path.exists() and not str(path).startswith("/proc")]
    return found
