#!/usr/bin/env python3
"""Runs CPython's own `test.test_asyncio` of the running interpreter against a chosen event loop.

    python tests/conformance/run.py                          every module, on Segue
    python tests/conformance/run.py --baseline               the same, minus what the stdlib loop fails here
    python tests/conformance/run.py --loop uvloop --module test_tasks test_events
    python tests/conformance/run.py --match '*test_sock_sendfile*' --verbose

Each module has its own process. Modules whose tests are written for the C Task and Future run again as
`<module>:own-tasks`, with Segue's Task and Future in their place, and as `<module>:own-tasks-on-asyncio`,
the same on the stdlib's loop. Exit status 0 means that nothing failed beyond the exclusions and the baseline.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import contenders
from exclusions import is_excluded
from report import Report
from supervisor import Limits, UnitRun, run_unit

HERE = Path(__file__).resolve().parent
PACKAGE = "test.test_asyncio"


@dataclasses.dataclass(frozen=True)
class Unit:
    """One process's worth of tests: a module, plainly or with Segue's Task and Future bound in it."""

    module: str
    own_tasks: bool = False
    on_asyncio: bool = False

    @property
    def name(self) -> str:
        variant = ":own-tasks" * self.own_tasks + "-on-asyncio" * self.on_asyncio
        return self.module + variant

    def arguments(self, loop: str, match: list[str]) -> list[str]:
        arguments = [f"{PACKAGE}.{self.module}", "--loop", loop]
        arguments += ["--own-tasks"] * self.own_tasks + ["--on-asyncio"] * self.on_asyncio
        for pattern in match:
            arguments += ["--match", pattern]
        return arguments


def test_package_folder() -> Path:
    """Where this interpreter keeps `test.test_asyncio`; ends the program when it ships without it."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"error: {sys.executable} has no {PACKAGE}: this interpreter was packaged without its tests.\n"
            f"Install them (Debian: libpython{version}-testsuite) or use an interpreter built from source."
        )
    return Path(spec.origin).parent


def units_for(loop: str, modules: list[str]) -> list[Unit]:
    """The units for `modules` (all when empty): `module` or `module:variant`. Only Segue has variants."""
    folder = test_package_folder()
    units = []
    for path in sorted(folder.glob("test_*.py")):
        units.append(Unit(path.stem))
        source = path.read_text() if loop == "segue" else ""
        if "_CTask" in source or "_CFuture" in source:
            units.append(Unit(path.stem, own_tasks=True))
            units.append(Unit(path.stem, own_tasks=True, on_asyncio=True))
    if not modules:
        return units
    chosen = [u for u in units if u.name in modules or u.module in modules]
    missing = set(modules) - {u.name for u in chosen} - {u.module for u in chosen}
    if missing:
        sys.exit(f"error: no such module in {folder}: {', '.join(sorted(missing))}")
    return chosen


def run_contender(loop: str, units: list[Unit], options: argparse.Namespace) -> Report:
    limits = Limits(options.timeout, options.module_timeout)

    def run(unit: Unit) -> UnitRun:
        result = run_unit(unit.name, HERE / "cpython_worker.py", unit.arguments(loop, options.match), limits)
        print(f"  {loop}: {unit.name}: {len(result.results)} tests, {result.seconds:.1f} s", file=sys.stderr)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(run, units))
    return Report(loop, runs, is_excluded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=contenders.NAMES, default="segue")
    parser.add_argument("--module", nargs="+", default=[], metavar="NAME", help="test_tasks, test_tasks:own-tasks …")
    parser.add_argument("--match", action="append", default=[], metavar="GLOB", help="only tests whose id matches")
    parser.add_argument("--baseline", action="store_true", help="run the stdlib loop too and subtract its failures")
    parser.add_argument("--jobs", type=int, default=1, help="modules at a time (default 1: some tests time things)")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds for one test")
    parser.add_argument("--module-timeout", type=float, default=900, metavar="S", help="seconds for one module")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome and traceback")
    parser.add_argument("--verbose", action="store_true", help="print whole tracebacks")
    options = parser.parse_args()
    try:
        contenders.loop_class(options.loop)
    except ImportError as error:
        sys.exit(f"error: {options.loop} is not installed in {sys.executable}: {error}")
    units = units_for(options.loop, options.module)
    baseline: frozenset[str] = frozenset()
    if options.baseline and options.loop != "asyncio":
        plain = [unit for unit in units if not unit.own_tasks]
        reference = run_contender("asyncio", plain, options)
        reference.print()
        reference.print_closing_line()
        baseline = reference.failures()
    report = run_contender(options.loop, units, options)
    report.baseline_failures = baseline
    report.print(options.verbose)
    if options.loop == "segue":
        for test_id in report.stale_exclusions():
            print(f"stale exclusion: {test_id} passes; remove it from exclusions.py")
    if options.json:
        report.write_json(options.json)
    print(f"\nCPython {sys.version.split()[0]} {PACKAGE} on {options.loop}")
    report.print_closing_line()
    return 1 if report.unexplained() else 0


if __name__ == "__main__":
    sys.exit(main())
