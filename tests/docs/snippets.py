"""Reads the documentation's pages: the programs they show, commands they run, and what those should print.

A page is Markdown. A ```python block is a program whose first line names its file (`# x.py`). A ```console
block is a session: lines that begin with "$ " are commands, the lines below each are what it prints. The rest
is left alone. How expected and printed text are compared is in `same()`; running is in `test_snippets.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HOME = "/home/you"
"""Where the pages' programs are said to be; stands for the folder in which the tests run them."""
PORT = "8000"
"""The port that pages name; stands for one that is free."""

_FENCE = re.compile(r"^(```+)\s*(\w*)\s*$")
_NEEDS = re.compile(r"^<!-- needs CPython 3\.(\d+): (.+) -->$")
_FILE_NAME = re.compile(r"^# ([\w/]+\.py)$")


@dataclass(frozen=True)
class Command:
    line: str
    expected: str


@dataclass(frozen=True)
class Session:
    """A console block, with the programs that the page has shown so far."""

    page: Path
    line: int
    commands: tuple[Command, ...]
    files: dict[str, str] = field(hash=False)
    since: tuple[int, int] = (3, 11)
    reason: str = ""
    """Why an older interpreter can't run it."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


def pages() -> list[Path]:
    """README.md and all of docs/ but the decision records and the generated reference."""
    docs = PROJECT / "docs"
    found = [page for page in docs.rglob("*.md") if "adr" not in page.relative_to(docs).parts]
    return [PROJECT / "README.md", *sorted(page for page in found if page.name != "reference.md")]


@dataclass(frozen=True)
class _Block:
    language: str
    line: int
    text: str
    since: tuple[int, int]
    reason: str


def _blocks(page: Path) -> list[_Block]:
    found: list[_Block] = []
    fence, language, start, inside = "", "", 0, [""]
    since, reason = (3, 11), ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence:
            if line.rstrip() == fence:
                found.append(_Block(language, start, "\n".join(inside) + "\n", since, reason))
                fence, since, reason = "", (3, 11), ""
            else:
                inside.append(line)
        elif opening := _FENCE.match(line):
            (fence, language), start, inside = opening.groups(), number, []
        elif needs := _NEEDS.match(line):
            since, reason = (3, int(needs[1])), needs[2]
    if fence:
        raise ValueError(f"{page}:{start}: this block never ends")
    return found


def programs(page: Path) -> dict[str, int]:
    """The files that the page shows, with the line where each block begins."""
    found = {}
    for block in _blocks(page):
        if block.language == "python":
            found[_file_name(page, block)] = block.line
    return found


def sessions(page: Path) -> list[Session]:
    """Every console block of the page."""
    files: dict[str, str] = {}
    found = []
    for block in _blocks(page):
        if block.language == "python":
            files[_file_name(page, block)] = block.text
        elif block.language == "console":
            commands = tuple(_commands(page, block))
            found.append(Session(page, block.line, commands, dict(files), block.since, block.reason))
    return found


def _file_name(page: Path, block: _Block) -> str:
    first = block.text.partition("\n")[0]
    name = _FILE_NAME.match(first)
    if name is None:
        raise ValueError(f"{page}:{block.line}: a program's first line names its file, as in '# hello.py'")
    return name[1]


def _commands(page: Path, block: _Block) -> list[Command]:
    before, *sections = re.split(r"(?m)^\$ ", block.text)
    if before.strip() or not sections:
        raise ValueError(f"{page}:{block.line}: a console block begins with a command, '$ segue run x.py'")
    return [Command(*section.split("\n", 1)) for section in sections]


_DURATION = re.compile(r"\b\d+(?:\.\d+)?(?= ?(?:s|ms|seconds)\b)")
_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
_CARETS = re.compile(r"(?m)^[ |]*[\^~]+[\^~ ]*\n")


def _comparable(text: str) -> str:
    """Without what differs between runs or versions of CPython: durations, addresses, lines of carets."""
    text = _CARETS.sub("", text.rstrip() + "\n")
    text = _ADDRESS.sub("0x1", _DURATION.sub("1", text))
    return "\n".join(line.rstrip() for line in text.splitlines())


def same(expected: str, printed: str) -> bool:
    """Whether a command printed what the page says; "..." stands for any text, lines included."""
    parts = [re.escape(part) for part in _comparable(expected).split("...")]
    return re.fullmatch(".*?".join(parts), _comparable(printed), re.DOTALL) is not None
