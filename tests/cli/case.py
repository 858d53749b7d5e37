"""One row of the tables in `cases_*.py`: a program and how it's called; and how it's run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

PYTHON = [sys.executable]
# What pip writes as the `segue` script.
_SCRIPT = "import sys\nfrom segue._cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
TIMEOUT = 60  # seconds; what hangs fails

# Started by nohup or a shell's `&`, the tests would hand an ignored SIGINT on to every program.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Case:
    name: str
    argv: str | list[str]
    """What follows `python` and `segue run`; a string is split at spaces."""
    files: dict[str, str | bytes] = field(default_factory=dict)
    """Path -> text. Paths that start with "zip:archive.zip/" go into that archive."""
    stdin: str = ""
    env: dict[str, str | None] = field(default_factory=dict)
    """Changes to the environment; None removes."""
    kill: signal.Signals | None = None
    """Sent when the program has printed "ready" and waits."""

    def arguments(self) -> list[str]:
        return self.argv.split() if isinstance(self.argv, str) else list(self.argv)

    def write(self, directory: Path) -> None:
        for name, content in self.files.items():
            data = content if isinstance(content, bytes) else dedent(content).lstrip("\n").encode()
            if name.startswith("zip:"):
                archive, _, member = name.removeprefix("zip:").partition("/")
                with zipfile.ZipFile(directory / archive, "a") as file:
                    file.writestr(member, data)
            else:
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


@dataclass(frozen=True)
class Outcome:
    status: int
    """The exit status, or minus the number of the signal it died of."""
    stdout: str
    stderr: str


def segue_command(directory: Path) -> list[str]:
    """The `segue` command, as installed, for the interpreter that runs the tests."""
    path = directory / "segue"
    path.write_text(_SCRIPT)
    return [sys.executable, str(path)]


def script(name: str, source: str, argv: str | list[str] = "app.py", **more: object) -> Case:
    """A case with one file, app.py."""
    return Case(name, argv, {"app.py": source}, **more)  # type: ignore[arg-type]


def wait_until_asleep(pid: int) -> None:
    """So that a signal finds the program in its sleep, and not in the print before it."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R":
        time.sleep(0.001)


def run(command: list[str], case: Case, directory: Path) -> Outcome:
    environment = dict(os.environ)
    # What Segue says more in debug mode, python doesn't.
    environment.pop("PYTHONDEVMODE", None)
    for name, value in case.env.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    process = subprocess.Popen(
        [*command, *case.arguments()],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    try:
        first = b""
        if case.kill is not None:
            first = process.stdout.readline()
            if first == b"ready\n":
                wait_until_asleep(process.pid)
                process.send_signal(case.kill)
        stdout, stderr = process.communicate(case.stdin.encode(), timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    return Outcome(
        process.returncode, (first + stdout).decode(errors="replace"), stderr.decode(errors="replace")
    )
