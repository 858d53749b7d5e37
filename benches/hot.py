"""`python benches/hot.py ROW [CONTENDER …]`: where a counted row's instructions go, by function.

Two callgrind runs, of N and 2N operations; what is printed is the difference divided by N, so that start-up
isn't in it: instructions per operation in each function itself (or with `--inclusive` with all that it
calls). A companion to run.py for whoever wants a row to get better; nothing else calls it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Bench
from rows import ROWS, Method

LINE = re.compile(r"^\s*([\d,]+) (?:\([^)]*\))?\s+\S*?:(.+?)(?:'\d+)?(?: \[[^\]]*\])?$")


def by_function(callgrind_file: Path, inclusive: bool) -> dict[str, int]:
    command = ["callgrind_annotate", "--auto=no", "--threshold=100", str(callgrind_file)]
    if inclusive:
        command.insert(1, "--inclusive=yes")
    text = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stdout
    counts: dict[str, int] = {}
    for line in text.splitlines():
        if found := LINE.match(line):
            counts[found[2]] = counts.get(found[2], 0) + int(found[1].replace(",", ""))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row")
    parser.add_argument("contenders", nargs="*", default=["segue"])
    parser.add_argument("--inclusive", action="store_true")
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--python", default=sys.executable)
    chosen = parser.parse_args()
    rows = {row.name: row for row in ROWS if row.run.method in (Method.INSTRUCTIONS, Method.SERVER_INSTRUCTIONS)}
    if chosen.row not in rows:
        raise SystemExit(f"hot.py: {chosen.row!r} is not counted by callgrind; these are: {', '.join(rows)}")
    run = rows[chosen.row].run
    for contender in chosen.contenders:
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kept"
            kept.mkdir()
            figure = Bench(chosen.python, Path(folder), keep=kept).measure(run, contender)["per_operation"]
            once, twice = sorted(kept.iterdir(), key=lambda path: int(path.suffix[1:]))
            before, after = by_function(once, chosen.inclusive), by_function(twice, chosen.inclusive)
        print(f"{chosen.row}, {contender}: {figure:,.0f} instructions per operation")
        each = {name: (count - before.get(name, 0)) / run.n for name, count in after.items()}
        for name in sorted(each, key=each.__getitem__, reverse=True)[: chosen.top]:
            print(f"  {each[name]:9,.1f}  {name}")


if __name__ == "__main__":
    main()
