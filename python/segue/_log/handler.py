"""A log handler that never holds up who logs: another thread writes.

What logs puts its record into a queue of limited size, without taking a lock: a task is never delayed by another thread
that was stopped in the middle, and a `__del__` or signal handler that logs while its own thread is logging can't
deadlock. When the queue is full, the oldest record of the lowest level makes room, and the writer says how many did.

| rule | how |
|---|---|
| order | every record has a number; there is a queue per level, and the writer takes the lowest number of all |
| nothing is kept alive | exceptions become words in the thread that logs; source lines are read in the writer's |
| the end | `flush()` waits as long as something is being written; `logging.shutdown` and closing a loop call it |
| fork | not while a record is being written; the child begins with an empty queue and a thread of its own |
| what writing logs itself | warnings go to standard error, the rest is dropped: never back into the queue |
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from typing import Any

from .fields import add_fields
from .format import Formatter, explanation_for

_PATIENCE = 5.0
"""Seconds without one record written after which waiting for a target is given up."""
_FORK_PATIENCE = 1.0
_REPORT_EVERY = 1.0

_handlers: weakref.WeakSet[Handler] = weakref.WeakSet()


class Handler(logging.Handler):
    """Hands records to `target`, another handler, in a thread of its own: who logs never waits for it.

    At most `capacity` records wait to be written. Then the oldest of the lowest level are dropped (debug before info
    before warnings), and a warning of the logger `segue.log` says how many. Records of one thread stay in order.

    Exceptions are put into words where they are logged, so that no frame is kept alive; `record.exc_info` is None for
    the target, `exc_text` and `explanation` are set. Levels and filters of `target` are asked in the writing thread;
    put those that look at the current task on this handler. `target` belongs to it: `close()` closes both.
    """

    def __init__(self, target: logging.Handler, capacity: int = 10_000, level: int | str = logging.NOTSET) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        super().__init__(level)
        self.target = target
        self.capacity = capacity
        self._closed = False
        self._reset()
        _handlers.add(self)

    def _reset(self) -> None:
        self._queues: dict[float, deque[tuple[int, Any]]] = {}
        self._numbers = itertools.count()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._asleep = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        """Held while the target is at work."""
        self._writer: int | None = None
        """The thread that holds it."""
        self._written = 0
        self._gave_up_at = -1
        """How many were written when `flush` gave up."""
        self._dropped: dict[int, int] = {}
        self._counting = threading.Lock()
        """For `_dropped`. Nobody waits for it but the writer."""
        self._dropped_meanwhile: deque[int] = deque()
        self._reported = 0.0

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802
        """The target's formatter."""
        self.target.setFormatter(fmt)

    # ---- the side that logs ----

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # 3.11: bool
        """As `logging.Handler.handle`, without its lock."""
        add_fields(record)
        found: Any = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return found  # type: ignore[no-any-return]

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue."""
        try:
            if self._writer == threading.get_ident():
                # The target logs while it writes. In the queue that would go on for ever.
                if record.levelno >= logging.WARNING and logging.lastResort is not None:
                    logging.lastResort.handle(record)
                return
            prepared = self._prepared(record)
            if self._closed:
                self._write(prepared)
            elif self._make_room(record.levelno):
                self._put(record.levelno, prepared)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _prepared(self, record: logging.LogRecord) -> logging.LogRecord:
        """A copy that can be written later: its message is text, its exception words."""
        copy = logging.LogRecord.__new__(logging.LogRecord)
        copy.__dict__.update(record.__dict__)
        copy.msg, copy.args = record.getMessage(), None
        if copy.exc_info:
            self._put_into_words(copy, copy.exc_info)
            copy.exc_info = None
        return copy

    def _put_into_words(self, record: logging.LogRecord, exc_info: Any) -> None:
        formatter = self.target.formatter
        kind, exc, tb = exc_info
        if isinstance(formatter, Formatter):
            found = record.__dict__["explanation"] = explanation_for(record)
            if formatter.is_json or (found is not None and found.says_more):
                return
        if record.exc_text:
            return
        if formatter is not None and type(formatter).formatException is not logging.Formatter.formatException:
            record.exc_text = formatter.formatException(exc_info)
        else:
            record.exc_text = traceback.TracebackException(kind, exc, tb, lookup_lines=False)  # type: ignore[assignment]

    def _size(self) -> int:
        return sum(map(len, list(self._queues.values())))

    def _waiting(self) -> dict[float, int]:
        """How many records of which level wait."""
        return {
            level: len(entries) for level, entries in list(self._queues.items()) if entries and level != _NEVER_DROPPED
        }

    def _make_room(self, level: int) -> bool:
        """Drops the oldest record of the lowest level if there is no room; False if that is the new one."""
        while True:
            waiting = self._waiting()
            if sum(waiting.values()) < self.capacity:
                return True
            lowest = min(waiting)
            if lowest > level:
                self._count_dropped(level)
                return False
            try:
                self._queues[lowest].popleft()
            except IndexError:  # the writer was quicker
                continue
            self._count_dropped(int(lowest))

    def _count_dropped(self, level: int) -> None:
        if self._counting.acquire(blocking=False):
            try:
                self._dropped[level] = self._dropped.get(level, 0) + 1
            finally:
                self._counting.release()
        else:
            self._dropped_meanwhile.append(level)

    def _put(self, level: float, entry: Any) -> None:
        waiting = self._queues.get(level)
        if waiting is None:
            waiting = self._queues.setdefault(level, deque())
        waiting.append((next(self._numbers), entry))
        if self._asleep:
            self._asleep = False
            self._wake.put(None)
        elif self._thread is None:
            self._start()

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # somebody else does
        try:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="segue.log", daemon=True)
                self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._thread = None
            self._write_waiting()
        finally:
            self._starting.release()

    # ---- the side that writes ----

    def _run(self) -> None:
        try:
            while not (self._closed and not self._size()):
                self._write_waiting()
                self._asleep = True
                if self._size():  # it came before that was seen
                    self._asleep = False
                    continue
                self._wake.get()
                self._asleep = False
        finally:
            if not self._closed:  # the target has raised SystemExit or the like: the next record starts another
                self._thread = None

    def _write_waiting(self) -> None:
        while (entry := self._next()) is not None:
            if isinstance(entry, threading.Event):
                self._report_dropped()
                entry.set()
                continue
            if self._dropped and time.monotonic() - self._reported > _REPORT_EVERY:
                self._report_dropped()
            self._write(entry)
        self._report_dropped()

    def _next(self) -> Any:
        """What has waited longest; None if nothing waits."""
        while (found := self._oldest()) is not None:
            number, waiting = found
            # Looked at again: while the queues were looked at one after the other, a thread may have put a record into
            # one that was already passed, and its next record into one that was not. What comes twice is the oldest.
            if self._oldest() != found:
                continue
            try:
                entry = waiting.popleft()
            except IndexError:  # it had to make room
                continue
            if entry[0] == number:
                return entry[1]
            waiting.appendleft(entry)
        return None

    def _oldest(self) -> tuple[int, deque[tuple[int, Any]]] | None:
        """The lowest number at the head of a queue, and the queue."""
        number, oldest = -1, None
        for waiting in list(self._queues.values()):
            try:
                first = waiting[0][0]
            except IndexError:
                continue
            if oldest is None or first < number:
                number, oldest = first, waiting
        return None if oldest is None else (number, oldest)

    def _write(self, record: logging.LogRecord) -> None:
        if not self._writing.acquire(timeout=_PATIENCE):
            _say(f"segue.log: {self.target!r} is stuck, so this is not written: {record.getMessage()}")
            return
        self._writer = threading.get_ident()
        try:
            if isinstance(record.exc_text, traceback.TracebackException):
                record.exc_text = "".join(record.exc_text.format()).rstrip("\n")
            if record.levelno >= self.target.level:
                self.target.handle(record)
        except Exception:
            self.target.handleError(record)
        finally:
            self._writer = None
            self._written += 1
            self._writing.release()

    def _report_dropped(self) -> None:
        with self._counting:
            dropped, self._dropped = self._dropped, {}
        while self._dropped_meanwhile:
            level = self._dropped_meanwhile.popleft()
            dropped[level] = dropped.get(level, 0) + 1
        if not dropped:
            return
        self._reported = time.monotonic()
        total = sum(dropped.values())
        levels = ", ".join(f"{count:,} {logging.getLevelName(level)}" for level, count in sorted(dropped.items()))
        record = logging.makeLogRecord(
            {
                "name": "segue.log",
                "levelno": logging.WARNING,
                "levelname": logging.getLevelName(logging.WARNING),
                "msg": f"{total:,} log record{'s were' if total != 1 else ' was'} dropped, since they came faster "
                f"than they could be written: {levels}",
                "dropped": total,
            }
        )
        add_fields(record)
        self._write(record)

    # ---- the end ----

    def flush(self) -> None:
        """Wait until what was logged before is written. Gives up when nothing is written for 5 seconds, and says so."""
        if self._wait_until_written():
            self.target.flush()

    def _wait_until_written(self) -> bool:
        thread = self._thread
        if self._writer == threading.get_ident():
            return False  # called by the target
        if thread is None or not thread.is_alive():
            self._write_waiting()
            return True
        if self._asleep and not self._size():
            return True
        if self._gave_up_at == self._written:
            return False
        reached = threading.Event()
        self._put(_NEVER_DROPPED, reached)
        written = -1
        while not reached.wait(_PATIENCE):
            if self._written == written or not thread.is_alive():
                self._gave_up_at = written
                left = sum(self._waiting().values()) + (self._writer is not None)
                _say(f"segue.log: gave up waiting for {self.target!r}; {left:,} records are not written")
                return False
            written = self._written
        return True

    def close(self) -> None:
        """Write what is left, end the thread, close the target. What is logged afterwards is written at once."""
        if not self._closed:
            is_written = self._wait_until_written()
            self._closed = True
            self._wake.put(None)
            thread = self._thread
            if is_written:
                if thread is not None:
                    thread.join(_PATIENCE)
                self.target.flush()
                self.target.close()
            else:
                self.target.createLock()  # its old one stays with the thread that hangs in it: others would too
        super().close()


_NEVER_DROPPED = float("inf")
"""Above every level: the queue of those that wait in `flush`."""


def _say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def flush_all() -> None:
    """A loop is closed: what it has logged is written before the program goes on. Called by `EventLoop.close`."""
    for handler in list(_handlers):
        handler.flush()


# ---- fork ------------------------------------------------------------------------------------------------------------

_held: list[Any] = []


def _before_fork() -> None:
    """Not in the middle of a record: the child would have half of it, or a lock that nobody gives back."""
    for handler in list(_handlers):
        if handler._writer == threading.get_ident():
            continue  # the target itself forks
        if handler._writing.acquire(timeout=_FORK_PATIENCE):
            _held.append(handler._writing)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    _held.clear()
    for handler in list(_handlers):
        handler._reset()  # what waits is the parent's to write


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
