"""`segue.flight()`: keep the last seconds in memory, and write them to a file when something goes wrong.

The recorder itself, and its thread, are `crates/py/src/recording/flight.rs`. Here is what only Python knows: that
nobody has handled a failure.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _core
from ._explain.words import one_line, safely, text_of, type_name
from ._loop import EventLoop
from ._recording import bytes_of, information

SECONDS = 30.0
STALL = 1.0
SIGNAL = signals.SIGUSR2
MEMORY = 64 << 20
KEEP = 20
PAUSE = 60.0

_running: flight | None = None


class flight:
    """A flight recorder: it keeps what the tasks of this process did in the last `seconds`, and writes that to a file
    in `folder` when something goes wrong. A context manager.

        with segue.flight("flights"):
            segue.run(main())

    It writes when

    - a task fails and nobody handles it: the loop's exception handler is called with an exception (one that was never
      retrieved, or a callback's), or an exception ends the run (KeyboardInterrupt, SystemExit and CancelledError don't
      count);
    - a loop is blocked for `stall` seconds, while it is; 0 for never. That works where native code holds the GIL too;
    - a block takes longer than you allow: `with segue.flight.deadline(2.0, "handle order"):`;
    - `signal` comes, SIGUSR2 unless told otherwise, None for none. The handler that was there before is called too, and
      one that the program sets later takes its place;
    - you ask for it: `segue.flight.write("reason")`.

    Each time a line on standard error says why, and how to look at the file. Of each kind but the last two, the second
    file is written `pause` seconds after the first at the earliest, the third twice as long after that, and so on, up
    to an hour. The newest `keep` files of the folder are kept. A file is there under its name only when it is whole.

    `memory`: bytes for the events, such as "64M", and a quarter of that for each loop. Of more events the newest are
    kept, so that a file may begin later than `seconds` ago. Tasks that were there before it begins are in it, with what
    they wait for.

    Raises RuntimeError if a recording runs already, OSError if the folder can't be written to, ValueError for numbers
    that make no sense. A process that is forked has no recorder until it starts one.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        seconds: float = SECONDS,
        stall: float = STALL,
        signal: int | None = SIGNAL,
        memory: int | str = MEMORY,
        keep: int = KEEP,
        pause: float = PAUSE,
    ) -> None:
        self._folder = os.path.abspath(os.fspath(folder))
        self._numbers = {
            "seconds": _checked("seconds", seconds, above_zero=True),
            "stall": _checked("stall", stall),
            "pause": _checked("pause", pause),
        }
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep!r}")
        self._keep = keep
        self._signal = 0 if signal is None else int(signal)
        self._memory = bytes_of(memory)
        self._recorder: _core.FlightRecorder | None = None

    def start(self) -> None:
        """Begin, without a `with` block."""
        global _running
        program = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0].lstrip("-")
        self._recorder = _core.FlightRecorder(
            self._folder,
            program,
            information(),
            memory=self._memory,
            signal=self._signal,
            keep=self._keep,
            **self._numbers,
        )
        _running = self
        _watch_loops()

    def stop(self) -> None:
        """End it, once what was to be written has been written. Idempotent."""
        global _running
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            _running = None
            _leave_loops_alone()
            recorder.stop()

    def counts(self) -> dict[str, int]:
        """`{"written", "lost", "overwritten"}`: events so far, and those that came faster than they could be taken.

        Raises RuntimeError if it doesn't run.
        """
        if self._recorder is None:
            raise RuntimeError("the flight recorder doesn't run")
        return self._recorder.counts()

    @staticmethod
    def write(why: str = "asked by the program") -> Path | None:
        """Write a file now, whatever was written before, and wait for that: its path.

        None if no flight recorder runs. Raises OSError if it can't be written.
        """
        recorder = _recorder()
        return None if recorder is None else recorder.write(why)

    @staticmethod
    def deadline(seconds: float, what: str = "") -> _Deadline:
        """A context manager: a file is written if its block takes longer than `seconds`, while it still runs.

        Nothing else happens to the block; `segue.fail_after` ends it. `what` is what the file says it was. Does nothing
        if no flight recorder runs when the block begins. Raises ValueError for a negative time.
        """
        return _Deadline(_checked("seconds", seconds), what)

    def __enter__(self) -> flight:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Deadline:
    __slots__ = ("_key", "_recorder", "_seconds", "_what")

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._recorder: _core.FlightRecorder | None = None
        self._key = (0, 0)

    def __enter__(self) -> None:
        recorder = _recorder()
        if recorder is None:
            return
        caller = sys._getframe(1)
        what = self._what or f"the block at {caller.f_code.co_filename}:{caller.f_lineno}"
        if asyncio._get_running_loop() is not None and (task := asyncio.current_task()) is not None:
            what += f" in task '{safely(task.get_name, 'no name')}'"
        self._recorder = recorder
        self._key = recorder.deadline(self._seconds, what)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.met(self._key)


def _checked(name: str, number: float, above_zero: bool = False) -> float:
    # A year: what is longer is a mistake, and so is NaN.
    if not (0 <= number <= 366 * 86_400) or (above_zero and number == 0):
        raise ValueError(f"{name} must be a number of seconds{', above 0,' * above_zero} up to a year, not {number!r}")
    return float(number)


def _recorder() -> _core.FlightRecorder | None:
    return None if _running is None else _running._recorder


# ---- what nobody has handled -----------------------------------------------------------------------------------------


def _note(who: str, exc: BaseException, ends_run: bool = False) -> None:
    recorder = _recorder()
    if recorder is not None:
        message = one_line(text_of(exc))[:300]
        recorder.note(f"{who}: {type_name(type(exc))}{': ' * bool(message)}{message}", ends_run)


def _call_exception_handler(self: EventLoop, context: dict[str, Any]) -> None:
    exc = context.get("exception")
    if isinstance(exc, Exception):
        task = context.get("future") or context.get("task")
        who = f"task '{safely(task.get_name, 'no name')}'" if isinstance(task, asyncio.Task) else "a callback"
        _note(f"{who} has failed and nobody handled it", exc)
    super(EventLoop, self).call_exception_handler(context)


def _run_until_complete(self: EventLoop, future: Any) -> Any:
    try:
        return super(EventLoop, self).run_until_complete(future)
    except Exception as exc:
        _note("the run has ended with an exception", exc, ends_run=True)
        raise


_WATCHED: dict[str, Callable[..., Any]] = {
    "call_exception_handler": _call_exception_handler,
    "run_until_complete": _run_until_complete,
}
"""Methods that the loop inherits from asyncio, and has of its own while a flight recorder runs: so that without one
nothing is between a program and them, in tracebacks neither."""


def _watch_loops() -> None:
    for name, method in _WATCHED.items():
        setattr(EventLoop, name, method)


def _leave_loops_alone() -> None:
    for name in _WATCHED:
        delattr(EventLoop, name)


def _in_the_child() -> None:
    """After a fork the recorder is the parent's."""
    global _running
    running, _running = _running, None
    if running is not None:
        _core._forget_recording()
        running._recorder = None
        _leave_loops_alone()


_register: Callable[..., Any] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_in_the_child)
