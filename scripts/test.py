"""What `make test` and continuous integration run: every check, one after the other, with one sum at the end.

    .venv/bin/python scripts/test.py                  all
    .venv/bin/python scripts/test.py --only checks    formatting, lints, types and licences
    .venv/bin/python scripts/test.py --only cli ecosystem

Called with the Python of the environment into which `make install` put Segue's wheel and the tools. A step
that fails doesn't stop the others. The last line is "N passed, N failed", where a check counts as one.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEP_LIMIT = 1500.0
"""Seconds after which a step is ended and counted as failed."""

# The closing lines of pytest, of cargo's test runner and of tests/conformance.
COUNTS = {
    "passed": re.compile(r"(\d+) passed"),
    "failed": re.compile(r"(\d+) (?:failed|errors?)\b"),
}
CLOSING = re.compile(
    r"^(?:=+ )?(?:test result: \w+\. )?(?=\d+ (?:passed|failed|errors?)\b)",
)


@dataclasses.dataclass
class Step:
    name: str
    command: list[str]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    counts_tests: bool = False
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0

    def run(self) -> None:
        print(f"\n== {self.name}: {' '.join(self.command)}", flush=True)
        started = time.monotonic()
        output, status = run_and_show(self.command, self.environment)
        self.seconds = time.monotonic() - started
        if self.counts_tests:
            self.count(output)
        else:
            self.passed = int(status == 0)
        if status != 0 and not self.failed:
            self.failed = 1
        if status == 0 and not self.passed:
            print(f"{self.name}: ended well without having tested anything, which counts as a failure")
            self.failed += 1

    def count(self, output: str) -> None:
        for line in output.splitlines():
            if not CLOSING.match(line):
                continue
            self.passed += sum(int(n) for n in COUNTS["passed"].findall(line))
            self.failed += sum(int(n) for n in COUNTS["failed"].findall(line))


def run_and_show(command: list[str], environment: dict[str, str]) -> tuple[str, int]:
    """Runs a command, showing what it prints as it comes; returns that and the exit status."""
    lines: list[str] = []
    with subprocess.Popen(
        ["timeout", "--kill-after=10", f"{STEP_LIMIT:.0f}", *command],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return "".join(lines), process.returncode


def checks() -> list[Step]:
    interpreter = {"PYO3_PYTHON": sys.executable}
    python = [sys.executable, "-m"]
    return [
        Step("format", ["cargo", "fmt", "--all", "--check"]),
        Step(
            "clippy",
            ["cargo", "clippy", "-q", "--workspace", "--all-targets", "--", "-D", "warnings"],
            interpreter,
        ),
        Step("licences", [sys.executable, "scripts/licences.py"]),
        Step("ruff", [*python, "ruff", "check", "-q"]),
        Step("mypy", [*python, "mypy", "-p", "segue"]),
        Step(
            "stubtest",
            [*python, "mypy.stubtest", "segue", "--allowlist", "tests/types/stubtest-allowlist.txt"],
        ),
    ]


def suites() -> list[Step]:
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "300"]
    steps = [Step("core", ["cargo", "test", "-q"], counts_tests=True)]
    folders = sorted({path.parent for path in (ROOT / "tests").glob("*/test_*.py")})
    for folder in folders:
        steps.append(
            Step(folder.name, [*pytest, str(folder.relative_to(ROOT))], counts_tests=True)
        )
    conformance = [sys.executable, "tests/conformance/run.py", "--baseline", "--jobs", "2"]
    steps.append(Step("conformance", conformance, counts_tests=True))
    trio = [sys.executable, "tests/conformance/trio/run.py"]
    steps.append(Step("conformance-trio", trio, counts_tests=True))
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups = {"checks": checks(), "tests": suites()}
    steps = [step for group in groups.values() for step in group]
    names = [*groups, *(step.name for step in steps)]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    only = parser.parse_args().only
    # A shell starts background jobs with Ctrl-C ignored; the tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if only:
        chosen = [step for name, group in groups.items() if name in only for step in group]
        steps = [step for step in steps if step in chosen or step.name in only]
    for step in steps:
        step.run()
    print("\nstep              passed   failed   seconds")
    for step in steps:
        print(f"{step.name:<16} {step.passed:>7} {step.failed:>8} {step.seconds:>9.0f}")
    passed, failed = sum(step.passed for step in steps), sum(step.failed for step in steps)
    print(f"\n{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
