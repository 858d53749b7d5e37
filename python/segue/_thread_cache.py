"""Threads that work: started when needed, kept for a while, and reused, the last one that became idle first.

They know nothing of loops; `to_thread.run_sync` is in `_threads.py`. They are daemons: the end of the program doesn't
wait for them.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ._outcome import Error, Value, capture

# How long a thread without work is kept, in seconds.
IDLE_TIMEOUT = 10.0

# What threads are called while they have no work, with a number behind it.
THREAD_NAME = "Segue thread"

_numbers = itertools.count()

Job = tuple[Callable[[], Any], Callable[[Value[Any] | Error], object], str | None]


@functools.cache
def get_os_thread_name_func() -> Callable[[int | None, str], None] | None:
    """What sets the name under which the system shows a thread, given its ident; None where nothing does."""
    import ctypes

    set_name = getattr(ctypes.CDLL(None), "pthread_setname_np", None)
    if set_name is None or sys.platform != "linux":
        return None
    set_name.restype = ctypes.c_int
    set_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]

    def name_thread(ident: int | None, name: str) -> None:
        if ident is not None:
            set_name(ident, name.encode("ascii", errors="replace")[:15])

    return name_thread


class _Worker:
    """A thread, and the job that it is given next."""

    __slots__ = ("_cache", "_has_job", "_job", "_name", "_thread")

    def __init__(self, cache: ThreadCache) -> None:
        self._cache = cache
        self._job: Job | None = None
        self._has_job = threading.Lock()
        self._has_job.acquire()
        self._name = f"{THREAD_NAME} {next(_numbers)}"
        options: dict[str, Any] = {}
        if sys.version_info >= (3, 14):
            options["context"] = contextvars.Context()  # or it could keep its first caller's
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True, **options)
        self._thread.start()

    def give(self, job: Job) -> None:
        self._job = job
        self._has_job.release()

    def _work(self) -> None:
        self._call_thread(self._name)
        while True:
            if self._has_job.acquire(timeout=IDLE_TIMEOUT):
                self._do_job()
            elif self._cache._retire(self):
                return

    def _do_job(self) -> None:
        assert self._job is not None  # given before the lock was released
        function, deliver, name = self._job
        self._job = None
        if name is not None:
            self._call_thread(name)
        result = capture(function)
        if name is not None:
            self._call_thread(self._name)
        del function
        # Idle before anybody hears of the result: whoever waits for it and then wants a thread finds this one.
        self._cache._idle.append(self)
        try:
            deliver(result)
        except BaseException as exc:
            print("Exception while delivering the result of a thread", file=sys.stderr)
            traceback.print_exception(exc)
        finally:
            del result, deliver  # an error's traceback leads to this frame

    def _call_thread(self, name: str) -> None:
        self._thread.name = name
        name_thread = get_os_thread_name_func()
        if name_thread is not None:
            name_thread(self._thread.ident, name)


class ThreadCache:
    """Threads that have nothing to do."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: list[_Worker] = []

    def start_thread_soon(
        self,
        fn: Callable[[], Any],
        deliver: Callable[[Value[Any] | Error], object],
        name: str | None = None,
    ) -> None:
        """As the function of the same name."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker(self)
        worker.give((fn, deliver, name))

    def _retire(self, worker: _Worker) -> bool:
        """A thread has been idle for long; False if it was given a job at the last moment."""
        try:
            self._idle.remove(worker)
        except ValueError:
            return False
        return True


THREAD_CACHE = ThreadCache()


def start_thread_soon(
    fn: Callable[[], Any], deliver: Callable[[Value[Any] | Error], object], name: str | None = None
) -> None:
    """Call `fn()` in a worker thread and there `deliver(result)`: an object with `value` or `error`, and `unwrap()`.

    `deliver` must not block. `name`: what the thread is called meanwhile. From any thread; RuntimeError if no thread
    can be started. https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.start_thread_soon
    """
    THREAD_CACHE.start_thread_soon(fn, deliver, name)


os.register_at_fork(after_in_child=THREAD_CACHE._idle.clear)  # a fork takes no threads along
