"""Reads the documentation's pages: the programs they show, commands they run, and what those should print.

A page is Markdown. A ```python block is a program whose first line names its file (`# x.py`). A ```console
block is a session: lines that begin with "$ " are commands, the lines below each are what it prints. The rest
is left alone. How expected and printed text are compared is in `same()`; running is in `test_snippets.py`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HOME = "/home/you"
"""Where the pages' programs are said to be; stands for the folder in which the tests run them."""
PORT = "8000"
"""The port that pages name; stands for one that is free."""

_FENCE = re.compile(r"^(```+)\s*(\w*)\s*$")
_NEEDS = re.compile(r"^<!-- needs (CPython|package|command) ([\w.-]+): (.+) -->$")
_FILE_NAME = re.compile(r"^# ([\w/]+\.py)$")


@dataclass(frozen=True)
class Command:
    line: str
    expected: str


@dataclass(frozen=True)
class Need:
    """What a session can't do without, and not every machine has."""

    kind: str
    name: str
    reason: str

    def is_met(self) -> bool:
        if self.kind == "CPython":
            return sys.version_info[:2] >= tuple(int(part) for part in self.name.split("."))
        if self.kind == "package":
            return importlib.util.find_spec(self.name) is not None
        return shutil.which(self.name) is not None

    def __str__(self) -> str:
        return f"needs {self.kind} {self.name}: {self.reason}"


@dataclass(frozen=True)
class Session:
    """A console block, with the programs that the page has shown so far."""

    page: Path
    line: int
    commands: tuple[Command, ...]
    files: dict[str, str] = field(hash=False)
    needs: tuple[Need, ...] = ()

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
    needs: tuple[Need, ...]


def _blocks(page: Path) -> list[_Block]:
    found: list[_Block] = []
    fence, language, start, inside = "", "", 0, [""]
    needs: list[Need] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence:
            if line.rstrip() == fence:
                found.append(_Block(language, start, "\n".join(inside) + "\n", tuple(needs)))
                fence, needs = "", []
            else:
                inside.append(line)
        elif opening := _FENCE.match(line):
            (fence, language), start, inside = opening.groups(), number, []
        elif need := _NEEDS.match(line):
            needs.append(Need(*need.groups()))
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
            found.append(Session(page, block.line, commands, dict(files), block.needs))
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
