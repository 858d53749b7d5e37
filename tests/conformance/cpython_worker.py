"""The process in which one module of CPython's `test.test_asyncio` runs. Only the supervisor starts it.

It puts the contender in asyncio's place, loads the module with unittest, leaves out what is already
finished, and reports each test on the event pipe.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import importlib
import inspect
import json
import os
import signal
import traceback
import unittest
import warnings
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import contenders


class EventResult(unittest.TestResult):
    """A unittest result that writes events instead of keeping them."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send
        self._outcome: tuple[str, str] | None = None

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._outcome = None
        self._send({"event": "start", "id": test.id()})

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        outcome, detail = self._outcome or ("error", "unittest reported no outcome")
        self._send({"event": "end", "id": test.id(), "outcome": outcome, "detail": detail})

    def _record(self, test: Any, outcome: str, detail: str = "") -> None:
        if isinstance(test, unittest.TestCase):
            # The first bad outcome stays: a failure in the test body explains the error in its tearDown.
            if self._outcome is None or self._outcome[0] in ("passed", "skipped"):
                self._outcome = (outcome, detail)
        else:  # a setUpClass or setUpModule that failed
            self._send({"event": "end", "id": test.id(), "outcome": outcome, "detail": detail})

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._record(test, "passed")

    def addError(self, test: Any, err: Any) -> None:
        self._record(test, "error", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addFailure(self, test: Any, err: Any) -> None:
        self._record(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addSkip(self, test: Any, reason: str) -> None:
        self._record(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._record(test, "passed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._record(test, "failed", "a test marked expectedFailure passed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            outcome = "failed" if issubclass(err[0], test.failureException) else "error"
            text = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
            self._record(test, outcome, f"{subtest}\n{text}")


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


@functools.cache
def binds_c_types(cls: Hashable) -> bool:
    """Whether CPython wrote this test class for the C Task or Future (its own text names them)."""
    try:
        source = inspect.getsource(cast(type, cls))
    except (OSError, TypeError):
        return False
    return "_CTask" in source or "_CFuture" in source


def wanted(test: unittest.TestCase, finished: set[str], patterns: list[str], own_tasks: bool) -> bool:
    name = test.id()
    if name in finished:
        return False
    if own_tasks and not binds_c_types(cast(Hashable, type(test))):
        return False
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def import_module(name: str, send: Callable[[dict[str, Any]], None]) -> ModuleType | None:
    """The test module, or None after reporting why there is none."""
    try:
        return importlib.import_module(name)
    except unittest.SkipTest as reason:
        outcome, detail = "skipped", str(reason)
    except BaseException:  # whatever stops the import is this module's outcome
        outcome, detail = "error", traceback.format_exc()
    send({"event": "end", "id": f"{name} (import)", "outcome": outcome, "detail": detail})
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--loop", choices=contenders.NAMES, required=True)
    parser.add_argument("--own-tasks", action="store_true", help="bind Segue's Task and Future")
    parser.add_argument("--on-asyncio", action="store_true", help="with --own-tasks: on the stdlib's loop")
    parser.add_argument("--match", action="append", default=[])
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--finished", type=Path, required=True)
    options = parser.parse_args()
    os.set_inheritable(options.events_fd, False)
    finished = set(json.loads(options.finished.read_text()))

    def send(event: dict[str, Any]) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        while data:
            data = data[os.write(options.events_fd, data) :]

    warnings.simplefilter("default")  # as `python -m unittest` does

    # Started by nohup or a shell's `&`, the process would have inherited SIGINT ignored; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loops_built = contenders.install("asyncio" if options.on_asyncio else options.loop)
    if options.own_tasks and options.loop == "segue":
        contenders.install_tasks()
    module = import_module(options.module, send)
    if module is not None:
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        tests = [t for t in flatten(suite) if wanted(t, finished, options.match, options.own_tasks)]
        unittest.TestSuite(tests).run(EventResult(send))
    # The supervisor still watches the process end: a crash in the interpreter's shutdown counts.
    send({"event": "done", "loops_built": loops_built()})


if __name__ == "__main__":
    main()
