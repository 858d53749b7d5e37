#!/usr/bin/env python3
"""Writes the table of all warnings in docs/howto/warnings.md, and docs/zoo.md: what is said about each program there.

    python docs/build_warnings.py           # runs each program of tests/zoo on asyncio and on Segue
    python docs/build_warnings.py --check   # only: is every warning and every program there?
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segue import _core

HERE = Path(__file__).parent
PAGE = HERE / "howto" / "warnings.md"
ZOO_PAGE = HERE / "zoo.md"
ZOO = HERE.parent / "tests" / "zoo"
BEGIN, END = "<!-- made by docs/build_warnings.py -->", "<!-- end -->"
LINES = 12
"""So many lines of a traceback are shown."""


def warnings_table() -> list[str]:
    lines = ["| warning | what it means | instead |", "|---|---|---|"]
    lines += [f"| `{name}` | {title} | {cure} |" for _, name, title, cure in _core._warning_codes()]
    return lines


def output(command: list[str], program: Path) -> tuple[str, str]:
    """What a program prints to standard output and error; what differs from run to run is "..."."""
    try:
        run = subprocess.run(
            [sys.executable, *command, program.name], cwd=program.parent, capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return "", "(it never ends)"
    return run.stdout, "\n".join(_steady(run.stderr, program))


def _steady(text: str, program: Path) -> list[str]:
    text = text.replace(f"{program.parent}/", "")
    text = re.sub(r"0x[0-9a-f]+", "0x...", text)
    text = re.sub(r"/\S*/(asyncio|concurrent|lib)/", r".../\1/", text)
    text = re.sub(r"/tmp/\S*/", "/tmp/.../", text)
    text = re.sub(r"'/\S*/python[\d.]*'", "'python'", text)
    lines = [line for line in text.splitlines() if line.strip(" ^~")]
    if len(lines) > LINES:
        lines[LINES // 2 : -LINES // 2] = ["..."]
    return lines


def programs() -> list[Path]:
    return sorted(path.parent for path in ZOO.glob("*/bug.py"))


def entry(folder: Path) -> list[str]:
    program = folder / "bug.py"
    source = program.read_text()
    said = re.search(r'^"""(.*?)"""', source, re.MULTILINE | re.DOTALL)
    code = re.findall(r"^# code: (.*)$", source, re.MULTILINE)[0]
    _, alone = output([], program)
    _, segue = output(["-m", "segue", "run", "--warn"], program)
    segue = "\n".join(segue.rpartition("segue: ")[2].splitlines()[1:])
    is_trio = "segue" in source.replace("segue run", "")
    who = "Without warnings Segue" if is_trio else "asyncio alone"
    lines = [
        f"## {folder.name}: `{code.partition(', ')[0]}`",
        "",
        f"{said[1] if said else ''} ([program](../tests/zoo/{folder.name}/bug.py),",
        f"[done right](../tests/zoo/{folder.name}/clean.py))",
        "",
        who + (" says nothing." if not alone.strip() else " says this:"),
        "",
    ]
    if alone.strip():
        lines += ["```text", alone, "```", ""]
    lines += ["Segue:", "", "```text", segue, "```", ""]
    return lines


def missing(page: str) -> list[str]:
    """Warnings and programs that the page doesn't have."""
    absent = [name for _, name, *_ in _core._warning_codes() if f"| `{name}` |" not in page]
    zoo = ZOO_PAGE.read_text()
    absent += [folder.name for folder in programs() if f"## {folder.name}:" not in zoo]
    known = {name for _, name, *_ in _core._warning_codes()}
    rows = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    absent += [f"{name} (no such warning)" for name in rows if name not in known]
    return absent


def main() -> None:
    page = PAGE.read_text()
    if "--check" in sys.argv:
        absent = missing(page)
        if absent:
            pages = "docs/howto/warnings.md and docs/zoo.md"
            sys.exit(f"{pages} lack {', '.join(absent)}: run python docs/build_warnings.py")
        return
    head = page.partition(BEGIN)[0]
    PAGE.write_text(head + "\n".join([BEGIN, "", "## Every warning", "", *warnings_table(), "", END, ""]))
    with ThreadPoolExecutor(2) as pool:
        entries = list(pool.map(entry, programs()))
    ZOO_PAGE.write_text("\n".join([ZOO_INTRODUCTION, *(line for lines in entries for line in lines)]))


ZOO_INTRODUCTION = """\
# A zoo of bugs

<!-- made by docs/build_warnings.py -->

Small programs, each with one classic bug: what asyncio alone says about it (with Python's defaults, on standard error)
and what [`segue run --warn`](howto/warnings.md) says. Each is in `tests/zoo` with a clean twin that does the same
right, about which nothing is said.
"""

if __name__ == "__main__":
    main()
