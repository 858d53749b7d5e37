"""`make demo`: runs app.py on Segue (`segue run`) and on asyncio's own loop; prints what happened.

Called with the Python of a virtual environment that has Segue's wheel and requirements.txt. Ends with
status 0 when every run did everything it should, and those on Segue really ran on Segue's loop.
"""

from __future__ import annotations

import argparse
import collections
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pages

HERE = Path(__file__).resolve().parent
RUN_LIMIT = 60.0
"""Seconds after which a run is killed and the demo fails: it must end by itself."""


def run_program(on: str, options: list[str], folder: Path, quiet: bool, see: Sequence[str] = ()) -> dict:
    """Runs app.py on "segue" or "asyncio"; returns its summary plus `wall`, `cpu` (seconds) and `errors`.
    `see`: options of `segue run` that show what happens.

    Exits the demo when the program fails. The summary's file is left in `folder`.
    """
    summary = folder / f"summary-{on}.json"
    summary.unlink(missing_ok=True)
    command = [sys.executable]
    if on == "segue":
        command += ["-m", "segue", "run", *see]
    command += [str(HERE / "app.py"), *options, "--require-loop", on, "--summary", str(summary)]
    out = subprocess.PIPE if quiet else None
    started, cpu_before = time.perf_counter(), cpu_of_children()
    try:
        done = subprocess.run(command, check=False, timeout=RUN_LIMIT, stdout=out, stderr=out, text=True)
    except subprocess.TimeoutExpired:
        sys.exit(f"demo: the program on {on} did not end within {RUN_LIMIT:.0f} s")
    wall, cpu = time.perf_counter() - started, cpu_of_children() - cpu_before
    if done.returncode != 0 or not summary.exists():
        said = f"{done.stdout or ''}{done.stderr or ''}"
        sys.exit(f"demo: the program on {on} ended with status {done.returncode}\n{said}")
    return json.loads(summary.read_text()) | {"wall": wall, "cpu": cpu, "errors": done.stderr}


def cpu_of_children() -> float:
    """Seconds of CPU that the processes which have ended used, their own children's included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def print_times(runs: dict[str, list[dict]]) -> None:
    """A line per step: the median on each loop, and how many times as fast Segue's is."""

    def line(name: str, measure: Callable[[dict], float]) -> None:
        plain, ours = (statistics.median(map(measure, runs[on])) for on in ("asyncio", "segue"))
        note = "timeouts" if name == "failures on purpose" else f"{plain / ours:.2f} x"
        print(f"  {name:<30}{plain:>8.2f} s{ours:>8.2f} s{note:>10}")

    title = f"median of {len(runs['segue'])} runs"
    print(f"  {title:<30}{'asyncio':>10}{'Segue':>10}{'':>10}")
    for step in runs["segue"][0]["seconds"]:
        line(step, lambda run, step=step: run["seconds"][step])
    line("whole program", lambda run: run["wall"])
    line("whole program, CPU time", lambda run: run["cpu"])


def print_report(options: list[str], folder: Path) -> Path:
    """Runs the program once more with --report and --record: Segue's list of failed tasks, the task tree, and a
    recording, whose path is returned."""
    recording = folder / "demo.segue"
    recording.unlink(missing_ok=True)
    print("\nsegue run --report --record demo.segue app.py: the tasks that failed, as Segue saw them", flush=True)
    see = ["--report", "--record", str(recording)]
    errors = run_program("segue", options, folder, quiet=True, see=see)["errors"]
    failures, _, tree = errors.partition("Task tree\n")
    print("\n".join(f"  {text}" for text in failures.strip().splitlines()))
    if not tree:
        sys.exit("demo: segue run --report printed no task tree")
    file = folder / "tasks.md"
    file.write_text(tree)
    print(f"  The tree of tasks, as a Mermaid diagram: {file}")
    return recording


def print_recording(recording: Path) -> None:
    """What is in the recording, and how to look at it."""
    kinds = collections.Counter(json.loads(line)["kind"] for line in exported(recording, "jsonl"))
    if not kinds["spawn"] or kinds["spawn"] > kinds["finish"] + kinds["unheard"]:
        sys.exit(f"demo: {recording} doesn't tell of every task how it ended: {dict(kinds)}")
    print(f"\nRecorded: {recording}")
    told = {"spawn": "tasks", "step": "steps", "wake": "wakes", "turn": "turns of the loop"}
    print("  " + ", ".join(f"{kinds[kind]:,} {words}" for kind, words in told.items()))
    print("  Look at it in a browser (graph, timeline, the story of each task):")
    print(f"    {Path(sys.executable).with_name('segue')} view {recording}")


def exported(recording: Path, form: str) -> list[str]:
    command = [sys.executable, "-m", "segue", "export", "--format", form, str(recording)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=Path, help="a folder of .html files (default: fetched with pip)")
    parser.add_argument("--rounds", type=int, default=8, help="how often to scrape every page")
    parser.add_argument("--pairs", type=int, default=2, help="how often to run on each loop")
    parser.add_argument(
        "--build", type=Path, default=Path("build/demo"), help="where downloads and results go"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()

    build: Path = arguments.build.resolve()
    build.mkdir(parents=True, exist_ok=True)
    folder = arguments.pages
    if folder is None:
        print(f"Web pages: the HTML documentation in {pages.PACKAGE}, fetched with pip", flush=True)
        folder = pages.fetch(build / "pages")
    options = ["--pages", str(folder), "--rounds"]

    runs: dict[str, list[dict]] = {"segue": [], "asyncio": []}
    for number in range(arguments.pairs):
        again = ", again" if number else ""
        print(f"\nsegue run app.py{again}", flush=True)
        runs["segue"].append(run_program("segue", [*options, str(arguments.rounds)], build, quiet=number > 0))
        print(f"\npython app.py, the same program on asyncio's own loop{again}", flush=True)
        runs["asyncio"].append(run_program("asyncio", [*options, str(arguments.rounds)], build, quiet=True))

    print()
    print_times(runs)
    recording = print_report([*options, "1"], build)
    first = runs["segue"][0]
    print(f"\nuvicorn ran on {first['loop']}, every page came back byte for byte,")
    print(f"and the {len(first['failed_tasks'])} tasks that had to fail said why.")
    print(f"The demo took {time.perf_counter() - started:.0f} s.")
    print_recording(recording)
    return 0


if __name__ == "__main__":
    sys.exit(main())
