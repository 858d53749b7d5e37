"""Runs one of Trio's test files against `segue.trio`, in a process of its own; `run.py` starts it.

    worker.py FILE OUTCOMES [-k EXPRESSION] [--not-again NAMES_FILE] [--verbose]

Writes a line of JSON to OUTCOMES when a test begins and when it has ended, so that a hang costs only one test.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

import pytest
import stand_in
from exclusions import why_excluded


class Recorder:
    """Writes what becomes of each test."""

    def __init__(self, file: str, out: TextIO, done: set[str]) -> None:
        self.file = file
        self.out = out
        self.done = done
        self.failures: dict[str, str] = {}

    def name(self, nodeid: str) -> str:
        return f"{self.file}::{nodeid.partition('::')[2]}"

    def say(self, **what: Any) -> None:
        print(json.dumps(what), file=self.out, flush=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = []
        for item in items:
            name = self.name(item.nodeid)
            if name in self.done:
                continue
            if (reason := why_excluded(name)) is not None:
                self.say(test=name, outcome="excluded", text=reason)
            else:
                chosen.append(item)
        items[:] = chosen

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.say(test=self.name(nodeid), outcome="started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = self.name(report.nodeid)
        if report.failed:
            self.failures[name] = f"{report.when}: {report.longreprtext}"
        elif report.when == "call" and report.skipped and not hasattr(report, "wasxfail"):
            self.say(test=name, outcome="skipped")
        elif report.when == "setup" and report.skipped:
            self.say(test=name, outcome="skipped", text=str(report.longrepr))
        if report.when == "teardown":
            if name in self.failures:
                self.say(test=name, outcome="failed", text=self.failures[name])
            else:
                self.say(test=name, outcome="passed")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.say(test=f"{self.file}::(import)", outcome="failed", text=report.longreprtext)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("-k", dest="expression", default="")
    parser.add_argument("--not-again", type=Path)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    stand_in.install()
    path = stand_in.wheel() / options.file
    plugin = importlib.import_module("trio._tests.pytest_plugin")
    done = set(options.not_again.read_text().splitlines()) if options.not_again else set()
    arguments = [str(path), "--rootdir", str(path.parent), "-p", "no:cacheprovider"]
    for other in ("asyncio", "anyio", "hypothesispytest", "segue"):
        arguments += ["-p", f"no:{other}"]
    # As Trio's own configuration has it.
    arguments += ["-c", str(Path(__file__).with_name("empty.ini")), "-W", "error", "-o", "xfail_strict=true"]
    # Segue has a plugin for pytest, so that pytest wants to rewrite it, and is here before pytest is.
    arguments += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    arguments += ["--tb=short", "-q", "--no-header", "--run-slow"]
    if options.expression:
        arguments += ["-k", options.expression]
    if not options.verbose:
        arguments += ["--show-capture=no"]
    with options.outcomes.open("a") as out:
        return int(pytest.main(arguments, plugins=[plugin, Recorder(options.file, out, done)]))


if __name__ == "__main__":
    sys.exit(main())
