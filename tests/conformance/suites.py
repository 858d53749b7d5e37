#!/usr/bin/env python3
"""Runs other projects' own test suites against a chosen event loop and compares with the stdlib's.

    python tests/conformance/suites.py                       every project, on Segue, minus asyncio's failures
    python tests/conformance/suites.py anyio aiohttp --loop uvloop
    python tests/conformance/suites.py anyio --only tests/test_taskgroups.py --no-baseline

The suites come from the projects' sdists on PyPI and are kept, with what they need, in a cache folder
(--cache, default $XDG_CACHE_HOME/segue-conformance). Exit status 0: nothing failed
that passes on asyncio.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import contenders
from projects import PROJECTS, Project
from report import Report
from supervisor import BAD, Limits, UnitRun, run_unit

HERE = Path(__file__).resolve().parent


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "segue-conformance"


def pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments],
        check=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )


def fetch_source(project: Project, cache: Path) -> Path:
    """The unpacked sdist."""
    folder = cache / "sdists" / f"{project.name}-{project.version}"
    if not folder.exists():
        downloads = cache / "downloads" / project.name
        pip(
            "download",
            "--no-deps",
            "--no-binary",
            project.name,
            "-d",
            str(downloads),
            f"{project.name}=={project.version}",
        )
        (archive,) = downloads.glob(f"*-{project.version}.tar.gz")
        unpacked = folder.with_suffix(".partial")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        (root,) = unpacked.iterdir()
        root.rename(folder)
        unpacked.rmdir()
    return folder


def install_packages(project: Project, cache: Path) -> Path:
    """A folder with the project's wheel and its test requirements, for this interpreter."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    requirements = (f"{project.name}=={project.version}", "pytest>=9,<10", *project.requires)
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
    folder = cache / f"packages-{version}" / f"{project.name}-{digest}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip("install", "--target", str(partial), *requirements)
        partial.rename(folder)
    return folder


def lay_out(project: Project, source: Path, folder: Path) -> None:
    """Copy the tests without the package beside them, so that the installed wheel is what gets imported."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = project.tests if "pyproject.toml" in project.tests else (*project.tests, "pyproject.toml")
    for name in wanted:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, folder / name)
        elif path.exists():
            shutil.copy(path, folder / name)


def run_project(project: Project, loop: str, options: argparse.Namespace) -> UnitRun:
    packages = install_packages(project, options.cache)
    tree = options.cache / "trees" / f"{project.name}-{loop}-{os.getpid()}"
    lay_out(project, fetch_source(project, options.cache), tree)
    arguments = ["--loop", loop, *["--as-uvloop"] * project.as_uvloop]
    for logger in project.silent_loggers:
        arguments += ["--silence", logger]
    arguments += ["--", "-p", "no:cacheprovider", *project.arguments]
    for plugin in project.plugins:
        arguments += ["-p", plugin]
    arguments += options.only
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        return run_unit(
            project.name,
            HERE / "pytest_worker.py",
            arguments,
            Limits(options.timeout, options.suite_timeout),
            environment,
            tree,
        )
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=f"of {', '.join(PROJECTS)}; default: all")
    parser.add_argument("--loop", choices=contenders.NAMES, default="segue")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the stdlib loop for comparison")
    parser.add_argument("--only", action="append", default=[], metavar="ARG", help="further pytest argument")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds for one test")
    parser.add_argument("--suite-timeout", type=float, default=1800, metavar="S", help="seconds for one suite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome and traceback")
    parser.add_argument("--verbose", action="store_true", help="print whole tracebacks")
    options = parser.parse_args()
    unknown = set(options.projects) - set(PROJECTS)
    if unknown:
        parser.error(f"no such project: {', '.join(sorted(unknown))}; there are {', '.join(PROJECTS)}")
    try:
        contenders.loop_class(options.loop)
    except ImportError as error:
        sys.exit(f"error: {options.loop} is not installed in {sys.executable}: {error}")
    chosen = [PROJECTS[name] for name in options.projects or PROJECTS]
    loops = [options.loop] if options.no_baseline or options.loop == "asyncio" else ["asyncio", options.loop]
    runs: dict[str, list[UnitRun]] = {loop: [] for loop in loops}
    for project in chosen:
        for loop in loops:
            run = run_project(project, loop, options)
            runs[loop].append(run)
            bad = sum(result.outcome in BAD for result in run.results)
            print(
                f"  {project.name} on {loop}: {len(run.results)} tests, {bad} failed",
                file=sys.stderr,
                flush=True,
            )
    baseline: frozenset[str] = frozenset()
    for loop in loops:
        report = Report(loop, runs[loop], lambda unit, test_id: False, baseline)
        print(f"\n{loop}, CPython {sys.version.split()[0]}")
        report.print(options.verbose)
        report.print_closing_line()
        baseline = report.failures()
    if options.json:
        report.write_json(options.json)
    return 1 if report.unexplained() else 0


if __name__ == "__main__":
    sys.exit(main())
