"""What the documentation names exists: linked files and headings, paths in the tree, targets of `make`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from snippets import PROJECT

_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"(?m)^#+ +(.+?) *$")
_TARGET = re.compile(r"\bmake ([a-z][\w-]*)\b")

_PATH = re.compile(r"`((?:crates|python|tests|benches|docs|examples|scripts|\.ci)/[\w./{},-]+)`")

PAGES = sorted(PROJECT.glob("*.md")) + sorted((PROJECT / "docs").rglob("*.md"))


def anchors(page: Path) -> set[str]:
    """The names under which GitHub reaches a page's headings."""
    titles = _HEADING.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_INLINE_CODE.sub("", _CODE.sub("", page.read_text(encoding="utf-8")))):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue  # another site's
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{page.relative_to(PROJECT)} links to what isn't there: {broken}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_named_paths_exist(page: Path) -> None:
    named = [path for text in _PATH.findall(page.read_text(encoding="utf-8")) for path in expanded(text)]
    missing = [path for path in named if not (PROJECT / path).exists()]
    assert not missing, f"{page.relative_to(PROJECT)} names paths that aren't there: {missing}"


def expanded(path: str) -> list[str]:
    """`a/{b,c}.rs` as the shell has it: a/b.rs and a/c.rs."""
    before, brace, rest = path.partition("{")
    inside, _, after = rest.partition("}")
    return [before + middle + after for middle in inside.split(",")] if brace else [path]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_make_targets_exist(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([\w-]+) *:", makefile))
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"`[^`\n]+`", text) + _CODE.findall(text)
    unknown = {target for piece in code for target in _TARGET.findall(piece)} - targets
    assert not unknown, f"{page.relative_to(PROJECT)} names targets that the Makefile lacks: {unknown}"
