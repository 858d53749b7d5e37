"""`make demo`: runs app.py on Segue (`segue run`) and on asyncio's own loop, and prints what happened and how long.

Called with the Python of a virtual environment that has Segue's wheel and requirements.txt. Ends with status 0 when
both runs did everything they should and the first really ran on Segue's loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pages

HERE = Path(__file__).resolve().parent
RUN_LIMIT = 60.0
"""Seconds after which a run is killed and the demo fails: it must end by itself."""


def run_program(on: str, options: list[str], summary: Path, quiet: bool) -> dict:
    """Runs app.py on "segue" or "asyncio"; returns its summary plus `wall`. Exits when it fails."""
    command = [sys.executable]
    if on == "segue":
        command += ["-m", "segue", "run"]
    command += [str(HERE / "app.py"), *options, "--require-loop", on, "--summary", str(summary)]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            check=False,
            timeout=RUN_LIMIT,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        )
    except subprocess.TimeoutExpired as late:
        sys.exit(f"the program on {on} did not end within {RUN_LIMIT:.0f} s\n{late.stdout or ''}")
    if done.returncode != 0:
        sys.exit(f"the program on {on} ended with status {done.returncode}\n{done.stdout or ''}")
    result = json.loads(summary.read_text())
    result["wall"] = time.perf_counter() - started
    return result


def print_times(runs: dict[str, list[dict]]) -> None:
    """A line per step: the median on each loop, and how many times as fast Segue's is."""
    names = list(runs["segue"][0]["seconds"])

    def median(on: str, name: str) -> float:
        return statistics.median(run["seconds"][name] for run in runs[on])

    print(
        f"  {'seconds (median of ' + str(len(runs['segue'])) + ')':<28}{'asyncio':>10}{'Segue':>10}{'':>10}"
    )
    for name in names:
        plain, ours = median("asyncio", name), median("segue", name)
        note = "waits" if name == "failures on purpose" else f"{plain / ours:.2f} x"
        print(f"  {name:<28}{plain:>10.2f}{ours:>10.2f}{note:>10}")
    plain, ours = (statistics.median(run["wall"] for run in runs[on]) for on in ("asyncio", "segue"))
    print(f"  {'whole program, with imports':<28}{plain:>10.2f}{ours:>10.2f}{plain / ours:>8.2f} x")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pages", type=Path, help="a folder of .html files (default: fetched with pip, kept in build/)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="how often to scrape every page")
    parser.add_argument("--pairs", type=int, default=2, help="how often to run on each loop")
    arguments = parser.parse_args()
    started = time.perf_counter()

    folder = arguments.pages
    if folder is None:
        print(f"Web pages: {pages.PACKAGE}'s HTML documentation, with pip", flush=True)
        folder = pages.fetch(HERE.parents[1] / "build" / "demo" / "pages")
    options = ["--pages", str(folder), "--rounds", str(arguments.rounds)]

    runs: dict[str, list[dict]] = {"segue": [], "asyncio": []}
    with tempfile.TemporaryDirectory() as scratch:
        summary = Path(scratch) / "summary.json"
        for number in range(arguments.pairs):
            print("\nsegue run app.py" + (", again" if number else ""), flush=True)
            runs["segue"].append(run_program("segue", options, summary, quiet=number > 0))
            print(
                "\npython app.py, the same program on asyncio's own loop" + (", again" if number else ""),
                flush=True,
            )
            runs["asyncio"].append(run_program("asyncio", options, summary, quiet=True))

    print()
    print_times(runs)
    failed = len(runs["segue"][0]["failed_tasks"])
    print(
        f"\nThe program ran on {runs['segue'][0]['loop']}: every page came back byte for byte, and the {failed} tasks"
    )
    print(f"that had to fail said why. The demo took {time.perf_counter() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
