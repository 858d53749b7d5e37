"""Checks that every crate Segue is built from has a licence that deny.toml allows, and comes from crates.io.

What `cargo deny check licenses sources` does, with nothing but cargo: it reads the locked dependency graph,
so it runs offline once the crates are there. Exit status 1 names each offender. Where cargo-deny is
installed it runs as well.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be fulfilled with allowed licences (`/` is an old way to write OR).

    >>> is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0", {"MIT", "Unicode-3.0"})
    True
    """
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|\bOR\b|\bAND\b|[\w.+-]+(?: WITH [\w.+-]+)?", expression)
    position = 0

    def alternatives() -> bool:
        nonlocal position
        result = conjunction()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            result = conjunction() or result
        return result

    def conjunction() -> bool:
        nonlocal position
        result = licence()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            result = licence() and result
        return result

    def licence() -> bool:
        nonlocal position
        token = tokens[position] if position < len(tokens) else ""
        position += 1
        if token == "(":
            result = alternatives()
            position += 1
            return result
        return token in allowed

    return alternatives()


def main() -> int:
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if metadata.returncode != 0:
        print(metadata.stderr, file=sys.stderr)
        return 1
    packages = json.loads(metadata.stdout)["packages"]
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        expression = package["license"]
        if expression is None:
            problems.append(f"{name}: states no licence")
        elif not is_allowed(expression, allowed):
            problems.append(f"{name}: licence {expression} is not among those that deny.toml allows")
        if package["source"] not in (None, CRATES_IO):
            problems.append(f"{name}: comes from {package['source']}, not from crates.io")
    for problem in problems:
        print(problem)
    print(f"licences: {len(packages)} crates, {len(problems)} problems")
    if shutil.which("cargo-deny") is not None:
        command = ["cargo", "deny", "--offline", "check", "licenses", "bans", "sources"]
        problems += ["cargo deny"] * (subprocess.run(command, cwd=ROOT, check=False).returncode != 0)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
