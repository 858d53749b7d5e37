"""`python benches/run.py`: run the rows on all contenders, interleaved, and print the table (see README.md).

This file reads the options, decides the order and writes the results. Rows and targets are in rows.py,
workloads in workloads.py, measuring in measure.py, arithmetic in summary.py, output in report.py.
"""

import argparse
import fnmatch
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import contenders
import report
from measure import Bench, MeasurementError, cache_folder, load_average, missing_tools, timestamp
from rows import COUNTED, ROWS, Method, Row, Run
from summary import Figures

HERE = Path(__file__).resolve().parent


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Segue's benchmarks: counts and times against asyncio and its peers.")
    parser.add_argument("--rows", default="*", help="names or patterns, separated by commas (see --list)")
    parser.add_argument("--contenders", default="*", help="names, separated by commas; uvloop is the base of ratios")
    parser.add_argument("--pairs", type=int, default=30, help="rounds of each timed row (default 30)")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of each counted row (default 1)")
    parser.add_argument("--quick", action="store_true", help="5 rounds of each timed row: a first look")
    parser.add_argument("--python", action="append", help="interpreter to measure (again for more; default: this one)")
    parser.add_argument("--heap", choices=("grown", "fresh"), default="grown", help="state of malloc (see README.md)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one timed server run (default 0.3)")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="timed processes get real-time priority (root): steady on a busy machine, which stalls meanwhile",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every value as JSON")
    parser.add_argument("--write", action="store_true", help="put the rows into benches/results/ (JSON, Markdown)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep callgrind's files for callgrind_annotate")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a target is missed")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.pairs = 5
    return chosen


def chosen_rows(patterns: str) -> list[Row]:
    rows = [row for row in ROWS if any(fnmatch.fnmatch(row.name, p) for p in patterns.split(","))]
    if not rows:
        raise SystemExit(f"run.py: no row is called {patterns!r}; --list shows them")
    return rows


def asked_for(names: str) -> list[str]:
    asked = list(contenders.CONTENDERS) if names == "*" else names.split(",")
    if unknown := set(asked) - set(contenders.CONTENDERS):
        raise SystemExit(f"run.py: no contender is called {', '.join(sorted(unknown))}")
    return asked


def available(names: list[str], versions: dict[str, str]) -> list[str]:
    """Those that this interpreter has; says which ones it hasn't, and why."""
    for name in names:
        if ":" in versions[name]:
            print(f"  {name}: left out, {versions[name]} (pip install -r benches/requirements.txt)")
    return [name for name in names if ":" not in versions[name]]


def install_pinned(python: str, machine: dict[str, Any], names: list[str]) -> dict[str, dict[str, str]]:
    """The environment in which each pinned contender finds its own release, installed once into the cache."""
    environments = {}
    for name in names:
        requirement = contenders.CONTENDERS[name].pinned
        if requirement is None:
            continue
        version = ".".join(machine["python"].split(".")[:2])
        folder = cache_folder() / f"{requirement.replace('==', '-')}-cpython-{version}"
        machine["contenders"][name] = requirement.split("==")[1]
        if not folder.exists():
            command = [python, "-m", "pip", "install", "--quiet", "--target", str(folder), requirement]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                machine["contenders"][name] = f"missing: pip could not install {requirement}"
        environments[name] = {"PYTHONPATH": str(folder)}
    return environments


def run_rounds(bench: Bench, run: Run, names: list[str], rounds: int) -> dict[str, Figures]:
    """Every contender once a round, starting one further each time; a peer that fails isn't tried again."""
    figures = {name: Figures() for name in names if contenders.takes_part(contenders.CONTENDERS[name], run)}

    def once(name: str) -> None:
        if figures[name].error is not None:
            return
        try:
            figures[name].rounds.append(bench.measure(run, name))
        except MeasurementError as error:
            figures[name].error = str(error)[:200]
            figures[name].rounds.clear()

    # Counts don't mind neighbours, so they share the CPUs; timed runs go one at a time.
    workers = (os.cpu_count() or 1) if run.method in COUNTED else 1
    with ThreadPoolExecutor(workers) as pool:
        for index in range(rounds):
            order = list(figures)
            shift = index % len(order)
            list(pool.map(once, order[shift:] + order[:shift]))
    return figures


def rounds_of(run: Run, chosen: argparse.Namespace) -> int:
    if run.method is Method.MEMORY:
        return 1
    rounds: int = chosen.repeats if run.method in COUNTED else chosen.pairs
    return rounds


def describe_machine(python: str) -> dict[str, Any]:
    found = subprocess.run([python, str(HERE / "worker.py"), "--versions"], capture_output=True, text=True)
    if found.returncode != 0:
        raise SystemExit(f"run.py: {python} can't run worker.py:\n{found.stderr}")
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        models = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        **json.loads(found.stdout),
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_before": load_average(),
    }


def measure_python(
    python: str, chosen: argparse.Namespace, rows: list[Row]
) -> tuple[dict[str, Any], list[Row], report.Results]:
    machine = describe_machine(python) | {
        "pairs": chosen.pairs,
        "repeats": chosen.repeats,
        "heap": chosen.heap,
        "realtime": chosen.realtime,
    }
    print(f"\nCPython {machine['python']}, {machine['cpu']}, {machine['cpus']} CPUs,", end=" ")
    print(f"load {machine['load_before']:.1f}")
    environments = install_pinned(python, machine, asked_for(chosen.contenders))
    names = available(asked_for(chosen.contenders), machine["contenders"])
    print("  " + ", ".join(f"{name} {machine['contenders'][name]}" for name in names))
    print(f"  GC: collect and freeze after start-up, default thresholds; heap: {chosen.heap}", flush=True)
    version = tuple(int(part) for part in machine["python"].split(".")[:2])
    for row in rows:
        if row.since > version:
            print(f"  {row.name}: left out, needs CPython {'.'.join(map(str, row.since))}")
    rows = [row for row in rows if row.since <= version]
    absent = missing_tools({row.run.method for row in rows})
    results: report.Results = {}
    measured: dict[Run, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as scratch:
        bench = Bench(python, Path(scratch), chosen.heap, seconds=chosen.seconds, keep=chosen.keep)
        bench.realtime = chosen.realtime
        bench.environment = environments
        for row in rows:
            if row.run.method in absent:
                measured[row.run] = {name: Figures(error=absent[row.run.method]) for name in names}
            elif row.run not in measured:
                measured[row.run] = run_rounds(bench, row.run, names, rounds_of(row.run, chosen))
            results[row.name] = measured[row.run]
            print(report.row_text(row, results[row.name]), flush=True)
    machine |= {"load_after": load_average(), "finished": timestamp()}
    print(report.totals_text(rows, results), flush=True)
    return machine, rows, results


def write_results(document: dict[str, Any]) -> None:
    """results/: the rows just measured replace their older figures, the other rows stay."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    version = ".".join(document["machine"]["python"].split(".")[:2])
    kept = folder / f"cpython-{version}.json"
    if kept.exists():
        older = json.loads(kept.read_text(encoding="utf-8"))
        document = report.merged(older, document, ROWS)
    kept.write_text(report.as_text(document), encoding="utf-8")
    kept.with_suffix(".md").write_text(report.markdown(document, list(ROWS)), encoding="utf-8")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave by the way that ends the children
    chosen = options()
    rows = chosen_rows(chosen.rows)
    if chosen.list:
        for row in rows:
            print(f"{row.name:<18}{row.title} ({row.unit})")
        return 0
    if chosen.keep is not None:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    missed = False
    for python in chosen.python or [sys.executable]:
        machine, measured, results = measure_python(python, chosen, rows)
        missed |= any(v.passed is False for _, v in report.verdicts(measured, results))
        document = report.as_document(machine, measured, results)
        if chosen.json is not None:
            chosen.json.write_text(report.as_text(document), encoding="utf-8")
        if chosen.write:
            write_results(document)
    return 1 if missed and chosen.strict else 0


if __name__ == "__main__":
    sys.exit(main())
