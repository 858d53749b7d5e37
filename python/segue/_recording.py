"""`segue.record()`: write down what every task does, into a file or in memory for when it is needed.

What is in a recording: docs/design/recording.md. What it costs: docs/howto/seeing.md.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from . import _core
from ._watch.watch import Watch

MEMORY = 32 << 20
"""Bytes for each loop's events, unless said otherwise: a million of them."""

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def bytes_of(size: int | str) -> int:
    """The number of bytes that `size` means: a number, or text such as "64M". ValueError for anything else."""
    if isinstance(size, int):
        return size
    text = size.strip().lower().removesuffix("b").removesuffix("i").strip()
    number = text.rstrip("kmg")
    unit = text[len(number) :]
    try:
        return int(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise ValueError(f"{size!r} is no size: write it as 64M, 1.5G or a number of bytes") from None


def information() -> str:
    """What a recording says about the program, as JSON."""
    return json.dumps(
        {
            "program": sys.argv[0] or sys.executable,
            "arguments": sys.argv[1:],
            "pid": os.getpid(),
            "python": platform.python_version(),
            "segue": _version(),
            "started": time.time(),
            "started_at": time.monotonic_ns(),
            "directory": os.getcwd(),
        }
    )


def _version() -> str:
    from . import __version__

    return __version__


class record:
    """Record the tasks of this process's loops into the file `path`: a context manager.

        with segue.record("app.segue"):
            segue.run(main())

    Loops that exist and those that are made meanwhile are recorded, of all threads. Look at the file with
    `segue view app.segue`. Without a path the last events are kept in memory (the flight recorder), and `dump(path)`
    writes them when something has happened.

    `memory`: bytes for each loop's events, such as "64M". Events that come faster than they can be written are counted,
    and the file says how many are missing.

    `warn`: look for everything that `segue run --warn` says. Without it the warnings are those that the events alone
    tell; with it asyncio's objects are watched too, which costs a web application about a tenth.

    Raises RuntimeError if a recording runs already, OSError if the file can't be written, ValueError for a `memory`
    that is no size or less than 1 MiB.
    """

    _live = False
    """It can be asked while it runs, and has no file."""

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, memory: int | str = MEMORY, warn: bool = False
    ) -> None:
        self._path = None if path is None else os.fspath(path)
        self._warn = warn
        self._watch: Watch | None = None
        self._memory = bytes_of(memory)
        self._recording: _core.Recording | None = None
        self._stopped: _core.Recording | None = None

    def start(self) -> None:
        """Begin, without a `with` block."""
        watch = Watch(origins=self._live) if self._warn or self._live else None
        self._recording = _core.Recording(self._path, self._memory, information(), watch, self._live)
        self._watch = watch
        if watch is not None:
            watch.begin()
        _running.append(self)

    def stop(self) -> None:
        """End it; the file is complete then. Idempotent. Raises OSError if writing the file failed."""
        recording, self._recording = self._recording, None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()
        if recording is not None:
            _running.remove(self)
            recording.stop()
            self._stopped = recording

    def _warnings(self) -> list[dict[str, Any]]:
        """What is wrong so far or, when it has ended, in all, as `trace::queries` answers it."""
        recording = self._recording or self._stopped
        if recording is None:
            return []
        recording.catch_up()
        if self._live:
            answer = recording.answer("warnings")
        elif self._path is not None:
            answer = _core.OpenedRecording(self._path).answer("warnings")
        else:
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=".segue") as file:
                recording.dump(file.name)
                answer = _core.OpenedRecording(file.name).answer("warnings")
        found: list[dict[str, Any]] = json.loads(answer)
        return found

    def dump(self, path: str | os.PathLike[str], *, seconds: float | None = None) -> None:
        """Write what is in memory, or the last `seconds` of it, to a file for `segue view`. The recording goes on.

        Raises RuntimeError if it doesn't run, OSError if the file can't be written.
        """
        if self._recording is None:
            raise RuntimeError("the recording doesn't run: there is nothing to write")
        self._recording.dump(os.fspath(path), None if seconds is None else int(seconds * 1e9))

    def counts(self) -> dict[str, int]:
        """`{"written", "lost", "overwritten"}`: events so far, without room for them, and overwritten by newer ones.

        Raises RuntimeError if it doesn't run.
        """
        if self._recording is None:
            raise RuntimeError("the recording doesn't run")
        return self._recording.counts()

    def __enter__(self) -> record:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class live_record(record):
    """A recording of the tasks in memory, for `segue run --warn`: nothing is written."""

    _live = True


_running: list[record] = []


def _in_the_child() -> None:
    """After a fork the recording and its file are the parent's."""
    _core._forget_recording()
    for running in _running:
        running._recording = None
        if running._watch is not None:
            running._watch.forget()
        running._watch = None
    _running.clear()


_register: Callable[..., Any] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_in_the_child)
