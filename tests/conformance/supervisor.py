"""Runs one test process after another until every test of a unit has an outcome.

A worker writes one JSON object per line to a pipe: `{"event": "start", "id": …}` before a test,
`{"event": "end", "id": …, "outcome": …, "detail": …}` after it, `{"event": "done", …}` at the end.
The supervisor owns the clock. When nothing arrives for too long, the test that started last hangs; when the
process ends without `done`, the test that started last crashed it. Either way the process (and its
children) is killed, the test gets its outcome, and a new worker continues with the rest.

It knows nothing of asyncio, unittest or pytest: the workers do.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OUTCOMES = ("passed", "failed", "error", "hang", "crash", "skipped")
BAD = ("failed", "error", "hang", "crash")
OUTPUT_TAIL = 6000
# Importing and collecting a large suite takes longer than any of its tests.
STARTUP_FACTOR = 5


@dataclasses.dataclass
class Result:
    """The outcome of one test. `detail` is a traceback, a skip reason or the tail of the process's output."""

    id: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0


@dataclasses.dataclass
class UnitRun:
    """What became of one unit: a test module, or one variant of it."""

    name: str
    results: list[Result] = dataclasses.field(default_factory=list)
    loops_built: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds without a sign of life from one test, and for the whole unit."""

    per_test: float
    per_unit: float


class _Worker:
    """One test process, its event pipe and its output file. Used once."""

    def __init__(
        self,
        script: Path,
        arguments: list[str],
        finished: list[str],
        scratch: Path,
        cwd: Path,
        env: dict[str, str],
    ) -> None:
        read_end, write_end = os.pipe()
        self._events = read_end
        self._buffer = b""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        finished_file = scratch / "finished-tests.json"
        finished_file.write_text(json.dumps(finished))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-X", "faulthandler", str(script)),
                *("--events-fd", str(write_end), "--finished", str(finished_file)),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[write_end],
            start_new_session=True,
            cwd=cwd,
            env=env,
        )
        os.close(write_end)

    def wait_for_line(self, timeout: float) -> bytes | None:
        """The next event line, b"" when the process is gone and all is read, None on timeout."""
        deadline = time.monotonic() + timeout
        while True:
            if b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                return line
            gone = self.process.poll() is not None
            # A grandchild may hold the pipe open, so end of file alone cannot mean "finished".
            wait = 0.0 if gone else min(0.5, max(0.0, deadline - time.monotonic()))
            if select.select([self._events], [], [], wait)[0]:
                chunk = os.read(self._events, 65536)
                if chunk:
                    self._buffer += chunk
                    continue
                if not gone:
                    time.sleep(0.02)
            if gone:
                return b""
            if time.monotonic() >= deadline:
                return None

    def dump_and_kill(self) -> None:
        """SIGABRT makes faulthandler print every thread's stack before the process group is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.kill_group()

    def kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def output_tail(self) -> str:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - OUTPUT_TAIL))
        return self._output.read().decode(errors="replace")

    def close(self) -> None:
        self.kill_group()
        os.close(self._events)
        self._output.close()


def run_unit(
    name: str,
    script: Path,
    arguments: list[str],
    limits: Limits,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> UnitRun:
    """Run the worker `script` until each of its tests has an outcome; restart it after hangs and crashes.

    Without `cwd` the worker runs in an empty folder that is removed afterwards.
    """
    run = UnitRun(name)
    began = time.monotonic()
    unit_deadline = began + limits.per_unit
    environment = dict(os.environ, **(env or {}))
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as scratch:
        while True:
            finished = [result.id for result in run.results]
            worker = _Worker(script, arguments, finished, Path(scratch), cwd or Path(scratch), environment)
            try:
                complete = _follow(worker, run, limits, unit_deadline)
            finally:
                worker.close()
            if complete or len(run.results) == len(finished):
                break
    run.seconds = time.monotonic() - began
    return run


def _follow(worker: _Worker, run: UnitRun, limits: Limits, unit_deadline: float) -> bool:
    """Read one worker's events into `run`. True when there is nothing left to restart for."""
    running: str | None = None
    started = time.monotonic()
    for line in _lines(worker, limits, unit_deadline):
        if line is None:
            worker.dump_and_kill()
            out_of_time = time.monotonic() >= unit_deadline
            what = running or f"{run.name} (outside any test)"
            reason = (
                f"the whole unit took longer than {limits.per_unit:g} s"
                if out_of_time
                else f"no sign of life for {time.monotonic() - started:.0f} s"
            )
            run.results.append(Result(what, "hang", f"{reason}\n{worker.output_tail()}", time.monotonic() - started))
            return out_of_time or running is None
        event = json.loads(line)
        if event["event"] == "start":
            running, started = event["id"], time.monotonic()
        elif event["event"] == "end":
            run.results.append(Result(event["id"], event["outcome"], event["detail"], time.monotonic() - started))
            running = None
        elif event["event"] == "done":
            run.loops_built += event["loops_built"]
            _watch_exit(worker, run, limits)
            return True
    status = worker.process.returncode
    what = running or f"{run.name} (outside any test)"
    death = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    run.results.append(Result(what, "crash", f"the process ended with {death}\n{worker.output_tail()}"))
    return running is None


def _watch_exit(worker: _Worker, run: UnitRun, limits: Limits) -> None:
    """All tests are done: the interpreter has to end, and by itself."""
    name = f"{run.name} (interpreter exit)"
    try:
        status = worker.process.wait(limits.per_test)
    except subprocess.TimeoutExpired:
        worker.dump_and_kill()
        run.results.append(Result(name, "hang", worker.output_tail(), limits.per_test))
        return
    if status < 0:
        death = signal.Signals(-status).name
        run.results.append(Result(name, "crash", f"the process ended with {death}\n{worker.output_tail()}"))


def _lines(worker: _Worker, limits: Limits, unit_deadline: float) -> Iterator[bytes | None]:
    """Event lines; ends when the process is gone; a None is a timeout and the last item."""
    patience = STARTUP_FACTOR * limits.per_test
    while True:
        line = worker.wait_for_line(min(patience, max(0.0, unit_deadline - time.monotonic())))
        patience = limits.per_test
        if line == b"":
            return
        yield line
        if line is None:
            return
