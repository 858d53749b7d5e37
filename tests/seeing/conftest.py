"""Fixtures of what explains: loops, and programs that are run and say something on a pipe or on a terminal."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import segue

# Started by nohup or a shell's `&`, the tests would hand an ignored SIGINT on to every program.
signal.signal(signal.SIGINT, signal.default_int_handler)

HANG = 280.0
TIMEOUT = 60
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "segue": segue.EventLoop,
}


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """`asyncio.run` on one loop or the other."""

    def run(coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run


class Said:
    """What a program has printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


class Programs:
    """Runs programs in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, program: str) -> None:
        (self.folder / "app.py").write_text(dedent(program).lstrip("\n"))

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        dropped = ("PYTHON", "SEGUE", "NO_COLOR", "FORCE_COLOR", "COV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {**kept, "TERM": "xterm", **more}

    def python(self, program: str, **env: str) -> Said:
        return self._run(["app.py"], program, env)

    def segue(self, program: str, *options: str, **env: str) -> Said:
        return self._run(["-m", "segue", "run", *options, "app.py"], program, env)

    def _run(self, argv: list[str], program: str, env: dict[str, str]) -> Said:
        self.write(program)
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=self.folder,
            env=self.environment(env),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on_a_terminal(self, program: str, *options: str, **env: str) -> str:
        """`segue run`, with a terminal for all three streams: all that was printed."""
        self.write(program)
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "segue", "run", *options, "app.py"],
            cwd=self.folder,
            env=self.environment(env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            read = b""
            while True:
                try:
                    some = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not some:
                    break
                read += some
            os.close(ours)
            process.wait(TIMEOUT)
        return read.decode().replace("\r\n", "\n")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
