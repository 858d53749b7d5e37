"""Classic bugs of asynchronous programs: Segue names task, line and cure of each, and says nothing of its clean twin.

A program's head says what is expected: `code` (one of them), `tasks` (their names are in the warning), `text` and
`cure` (words in it); the line is the one with the comment `# BUG`, if it can be known (`place: none`). What asyncio
alone says about each is in docs/zoo.md.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted(path.parent for path in HERE.glob("*/bug.py"))


@functools.cache
def run_both(folder: Path) -> dict[str, tuple[int, str]]:
    """Exit status and standard error of the bug and of its twin, which run at once: mostly they wait."""
    command = [sys.executable, "-m", "segue", "run", "--warn"]

    def run(name: str) -> tuple[int, str]:
        done = subprocess.run([*command, name], cwd=folder, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    names = ["bug.py", "clean.py"]
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(run, names)))


def warnings_of(program: Path) -> list[dict[str, str]]:
    """What `segue run --warn` prints, taken apart; the program's own output is left out."""
    status, said = run_both(program.parent)[program.name]
    assert status == 0, said
    assert "Exception ignored in: <segue" not in said and "watch for warnings" not in said, said
    _, _, printed = ("\n" + said).rpartition("\nsegue: ")
    found: list[dict[str, str]] = []
    for line in printed.splitlines()[1:]:
        head = re.fullmatch(r"(?:(\S+):(\d+): )?([a-z-]+): (.*)", line)
        if head is not None:
            found.append({"file": head[1] or "", "line": head[2] or "", "code": head[3], "title": head[4]})
        elif line.startswith("    Instead: "):
            found[-1]["cure"] = line.removeprefix("    Instead: ")
        elif line.startswith("    "):
            found[-1]["text"] = line.strip()
    assert printed.startswith("no warnings") == (not found), printed
    return found


def expectation(program: Path) -> dict[str, str]:
    return dict(re.findall(r"^# (\w+): *(.*)$", program.read_text(), re.MULTILINE))


@pytest.mark.parametrize("folder", PROGRAMS, ids=lambda folder: folder.name)
def test_a_bug_is_named_with_its_task_its_line_and_its_cure(folder: Path) -> None:
    program = folder / "bug.py"
    wanted = expectation(program)
    lines = program.read_text().splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if text.endswith("# BUG")]
    codes = wanted["code"].split(", ")
    found = warnings_of(program)
    assert {warning["code"] for warning in found} <= set(codes), found
    warning = next((warning for warning in found if warning["code"] == codes[0]), None) or found[0]
    place = ("", "") if wanted.get("place") == "none" else ("bug.py", str(line))
    assert (warning["file"], warning["line"]) == place, found
    about = warning["title"] + warning["text"]
    for name in filter(None, [*wanted.get("tasks", "").split(", "), wanted.get("text", "")]):
        assert name in about, found
    assert wanted["cure"] in warning["cure"], found


@pytest.mark.parametrize("folder", PROGRAMS, ids=lambda folder: folder.name)
def test_its_clean_twin_is_told_nothing(folder: Path) -> None:
    assert warnings_of(folder / "clean.py") == []
