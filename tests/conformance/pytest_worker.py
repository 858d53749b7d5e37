"""The process in which another project's test suite runs under pytest. Only the supervisor starts it.

It puts the contender in asyncio's place, tells pytest to leave out what is already finished, and
reports each test on the event pipe.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import contenders
import pytest


class Events:
    """A pytest plugin that writes an event before and after each test."""

    def __init__(self, fd: int, finished: set[str]) -> None:
        self._fd = fd
        self._finished = finished
        self._outcome = ("passed", "")

    def send(self, event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        while data:
            data = data[os.write(self._fd, data) :]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._finished]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        name = f"{report.nodeid} (collection)"
        if report.failed and name not in self._finished:
            self.send({"event": "end", "id": name, "outcome": "error", "detail": report.longreprtext})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._outcome = ("passed", "")
        self.send({"event": "start", "id": nodeid})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._outcome[0] in ("failed", "error"):
            return  # the first bad outcome explains those after it
        if report.failed:
            self._outcome = ("failed" if report.when == "call" else "error", report.longreprtext)
        elif report.skipped:
            # An xfail is an expected failure: what its suite calls a pass.
            reason = "" if hasattr(report, "wasxfail") else str(report.longrepr)
            self._outcome = ("passed" if hasattr(report, "wasxfail") else "skipped", reason)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome, detail = self._outcome
        self.send({"event": "end", "id": nodeid, "outcome": outcome, "detail": detail})


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=contenders.NAMES, required=True)
    parser.add_argument("--as-uvloop", action="store_true")
    parser.add_argument("--silence", action="append", default=[], metavar="LOGGER")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--finished", type=Path, required=True)
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    os.set_inheritable(options.events_fd, False)
    for logger in options.silence:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    # Started by nohup or a shell's `&`, the process would have inherited SIGINT ignored; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loops_built = contenders.install(options.loop)
    if options.as_uvloop and options.loop != "uvloop":
        contenders.install_as_uvloop()
    events = Events(options.events_fd, set(json.loads(options.finished.read_text())))
    status = pytest.main([*options.arguments, "--continue-on-collection-errors"], plugins=[events])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(status)
    events.send({"event": "done", "loops_built": loops_built()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
