"""Segue's types as users meet them: what is right is accepted, and mistakes are found where they are made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
EXPECTED = re.compile(r"# error: ([\w-]+)$")
REPORTED = re.compile(r"^[^:]*bad_program\.py:(\d+): error: .*\[([\w-]+)\]$")


def mypy(program: str, version: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental"]
    command += ["--python-version", version] if version else []
    # Away from the sources, so that the installed package with its stubs and py.typed is what is checked.
    return subprocess.run(
        [*command, "--config-file=", str(HERE / program)], capture_output=True, text=True, cwd=HERE, check=False
    )


def test_a_right_program_is_accepted() -> None:
    for version in ("3.11", "3.15"):
        result = mypy("good_program.py", version)
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_right_program_runs() -> None:
    result = subprocess.run(
        [sys.executable, str(HERE / "good_program.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("typed and run"), result.stdout


def test_mistakes_are_found_where_they_are() -> None:
    lines = (HERE / "bad_program.py").read_text().splitlines()
    expected = {
        (number, found.group(1)) for number, line in enumerate(lines, 1) if (found := EXPECTED.search(line))
    }
    result = mypy("bad_program.py", "3.13")  # before 3.12 asyncio.run has no loop_factory
    reported = {
        (int(found.group(1)), found.group(2))
        for line in result.stdout.splitlines()
        if (found := REPORTED.match(line))
    }
    assert reported == expected, result.stdout + result.stderr
    assert expected
