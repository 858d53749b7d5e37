"""Writes the README's benchmark table from what `benches/run.py --write` left in benches/results/.

    python docs/build_bench_table.py            write it
    python docs/build_bench_table.py --check    exit with 1 if the README's table is not that of the results

It shows the rows below for the newest CPython that has results; all rows are in benches/results/*.md.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
RESULTS = PROJECT / "benches" / "results"
BLOCK = re.compile(r"(?s)(<!-- bench -->\n).*?(<!-- /bench -->)")

ROWS = [
    "ir-create-await",
    "ir-gather",
    "ir-wakeup",
    "ir-call-soon-turn",
    "ir-sleep0",
    "ir-echo-100",
    "syscalls-100",
    "echo-100x1k",
    "echo-100x64k",
    "cpu-echo-100x1k",
    "streams-1k",
    "tls-1k",
]
CONTENDERS = ["segue", "uvloop", "rloop", "blazio", "asyncio"]
NONE_YET = "No figures have been recorded yet. `make bench` measures on your machine.\n"


def newest() -> dict[str, Any] | None:
    """The results of the newest CPython that has some."""
    files = RESULTS.glob("cpython-3.*.json")
    newest_first = sorted(files, key=lambda file: int(file.stem.rpartition(".")[2]), reverse=True)
    return json.loads(newest_first[0].read_text(encoding="utf-8")) if newest_first else None


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return "0" if value == 0 else f"{value:.3g}"


def values(row: dict[str, Any], contender: str) -> list[float]:
    return row["contenders"].get(contender, {}).get("values") or []


def rounds_of(rows: list[dict[str, Any]]) -> str:
    """How many rounds the timed rows had: a number, or the least and the most."""
    timed = [len(values(row, "segue")) for row in rows if row["run"]["method"] in ("throughput", "time")]
    least, most = min(timed, default=0), max(timed, default=0)
    return str(least) if least == most else f"{least} to {most}"


def cell(row: dict[str, Any], contender: str) -> str:
    """The median, and in brackets the median of the ratios to uvloop, round by round."""
    found, base = values(row, contender), values(row, "uvloop")
    if not found:
        return "—"
    shown = number(statistics.median(found))
    ratios = [value / other for value, other in zip(found, base, strict=False) if other]
    return shown if contender == "uvloop" or not ratios else f"{shown} ({statistics.median(ratios):.2f})"


def table(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = {row["name"]: row for row in results["rows"]}
    shown = [rows[name] for name in ROWS if name in rows]
    names = [name for name in CONTENDERS if any(values(row, name) for row in shown)]
    lines = [
        f"| what | unit | {' | '.join(names)} |",
        f"|---|---|{'---:|' * len(names)}",
    ]
    for row in shown:
        better = "more is better" if row["better"] == "more" else "less is better"
        cells = " | ".join(cell(row, name) for name in names)
        lines.append(f"| {row['title']} | {row['unit']}, {better} | {cells} |")
    versions = ", ".join(f"{name} {machine['contenders'][name]}" for name in names if name != "asyncio")
    lines += [
        "",
        "Medians; in brackets the ratio to uvloop in the same round. A dash: no figure.",
        f"CPython {machine['python']}, {versions};",
        f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}.",
        f"Made by `make bench ARGS=--write`, finished {machine['finished']}. Instructions and system calls",
        "are counted (callgrind, strace); times and throughput are of",
        f"{rounds_of(shown)} rounds in which the contenders take turns.",
        "Every row, and how each is measured: [benches/README.md](benches/README.md).",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    results = newest()
    text = README.read_text(encoding="utf-8")
    inside = table(results) if results else NONE_YET
    wanted, found = BLOCK.subn(lambda match: match[1] + inside + match[2], text)
    if not found:
        print("README.md has no <!-- bench --> block", file=sys.stderr)
        return 1
    if "--check" in sys.argv[1:]:
        if wanted != text:
            print(
                "README.md's benchmarks are out of date: run `python docs/build_bench_table.py`",
                file=sys.stderr,
            )
        return int(wanted != text)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
