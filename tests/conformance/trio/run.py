#!/usr/bin/env python3
"""Runs the tests of the trio wheel against `segue.trio`.

    python tests/conformance/trio/run.py                                every file of counted.txt
    python tests/conformance/trio/run.py test_sync.py test_channel.py   some files
    python tests/conformance/trio/run.py test_run.py -k nursery -v      some tests, with what failed

Each file has its own process; a test that hangs is killed and counts as failed. Exit status 0 means that at
least 95 % of the tests that are not excluded have passed, and that those which failed are the ones that
`known_failures.py` explains.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exclusions import EXCLUDED
from known_failures import KNOWN

HERE = Path(__file__).resolve().parent
REQUIRED = 95.0


def counted_files() -> list[str]:
    lines = (HERE / "counted.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read(outcomes: Path) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for line in outcomes.read_text().splitlines():
        entry = json.loads(line)
        if found.get(entry["test"], ("started", ""))[0] in ("started",):
            found[entry["test"]] = (entry["outcome"], entry.get("text", ""))
    return found


def run_file(file: str, options: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """Runs the file's tests, going on in a new process behind one that hangs or crashes."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes, done = Path(folder, "outcomes"), Path(folder, "done")
        outcomes.touch()
        while True:
            done.write_text("\n".join(read(outcomes)))
            command = [sys.executable, "-X", "dev" if options.dev else "utf8", str(HERE / "worker.py"), file]
            command += [str(outcomes), "--not-again", str(done)]
            if options.expression:
                command += ["-k", options.expression]
            if options.verbose:
                command += ["--verbose"]
            log = Path(folder, "log").open("w+")
            worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            status = watch(worker, outcomes, options.timeout)
            log.seek(0)
            text = log.read()
            results = read(outcomes)
            unfinished = [test for test, (outcome, _) in results.items() if outcome == "started"]
            if options.verbose:
                print(text)
            if not unfinished:
                if not results and status not in (0, 5):
                    results[f"{file}::(start)"] = ("failed", text)
                return results
            with outcomes.open("a") as out:
                for test in unfinished:
                    entry = {"test": test, "outcome": "failed", "text": f"hung or crashed ({status})\n{text[-6000:]}"}
                    print(json.dumps(entry), file=out)


def watch(worker: subprocess.Popen[bytes], outcomes: Path, seconds: float) -> int:
    """Waits for the end; kills a worker that reports nothing for so long."""
    size, since = -1, time.monotonic()
    while True:
        try:
            return worker.wait(0.2)
        except subprocess.TimeoutExpired:
            pass
        if outcomes.stat().st_size != size:
            size, since = outcomes.stat().st_size, time.monotonic()
        elif time.monotonic() - since > seconds:
            os.kill(worker.pid, signal.SIGUSR1)  # shows where it hangs
            time.sleep(0.5)
            os.killpg(worker.pid, signal.SIGKILL)
            return worker.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="names or ends of names out of counted.txt (default: all)")
    parser.add_argument("-k", dest="expression", default="", help="only tests that match, as pytest's -k")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what failed, and what tests print")
    parser.add_argument("--dev", action="store_true", help="in Python's development mode")
    parser.add_argument("--timeout", type=float, default=30, metavar="S", help="seconds without a word from a test")
    options = parser.parse_args()
    files = [f for f in counted_files() if not options.files or any(f.endswith(name) for name in options.files)]
    if not files:
        sys.exit("error: no such file in counted.txt")
    total: collections.Counter[str] = collections.Counter()
    outcomes: dict[str, str] = {}
    for file in files:
        results = run_file(file, options)
        counts = collections.Counter(outcome for outcome, _ in results.values())
        total += counts
        outcomes.update({test: outcome for test, (outcome, _) in results.items()})
        print(
            f"{file}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped, "
            f"{counts['excluded']} excluded",
            flush=True,
        )
        for test, (outcome, text) in results.items():
            if outcome == "failed":
                show_failure(test, text)
    return report(total, outcomes, whole=not options.files and not options.expression)


def show_failure(test: str, text: str) -> None:
    name = test.partition("::")[2]
    if test in KNOWN:
        print(f"    {name}: known")
        return
    last = [line for line in text.splitlines() if line.startswith("E ")] or text.splitlines()[-1:]
    print(f"    {name}: {(last or [''])[0].strip()[:150]}")


def report(total: collections.Counter[str], outcomes: dict[str, str], whole: bool) -> int:
    """What was left out and what failed, then one line in the form that scripts/test.py counts."""
    for title, reasons, which in (("excluded by design", EXCLUDED, "excluded"), ("failed as known", KNOWN, "failed")):
        found: dict[str, list[str]] = {}
        for test, reason in reasons.items():
            if outcomes.get(test) == which:
                found.setdefault(reason, []).append(test)
        if found:
            print(f"\n{title}:")
        for reason, tests in found.items():
            print(f"    {reason}:", *(f"        {test}" for test in tests), sep="\n")
    known = {test for test in KNOWN if outcomes.get(test) == "failed"}
    unexpected = [test for test, outcome in outcomes.items() if outcome == "failed" and test not in known]
    stale = [test for test in KNOWN if outcomes.get(test) == "passed"]
    for title, tests in (("failed", unexpected), ("passed, take it out of known_failures.py", stale)):
        for test in tests:
            print(f"{title}: {test}")
    ran = total["passed"] + total["failed"]
    percent = 100 * total["passed"] / max(ran, 1)
    enough = percent >= REQUIRED or not whole
    print(
        f"\ntrio 0.35 on segue.trio: {total['passed']} of {ran} passed ({percent:.1f} %; {REQUIRED:.0f} % are wanted), "
        f"{total['skipped']} skipped here, {total['excluded']} excluded by design"
    )
    print(
        f"{total['passed'] - len(stale)} passed, {len(unexpected) + len(stale) + (not enough)} failed, "
        f"and {len(known)} as known"
    )
    return int(bool(unexpected or stale) or not enough)


if __name__ == "__main__":
    sys.exit(main())
