"""`TrioToken`: how threads and signal handlers get a function run in a loop's thread.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.TrioToken
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ._core import checkpoint, wait_task_rescheduled
from ._core import reschedule as _reschedule
from ._errors import RunFinishedError
from ._lowlevel import Abort, RaiseCancel, current_task, spawn_system_task


class TrioToken:
    """One run of a loop, for `run_sync_soon` from wherever. Made by `current_trio_token()` only."""

    __slots__ = ("__weakref__", "_closed", "_idempotent", "_lock", "_loop", "_queue", "_task", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._lock = threading.RLock()  # a signal handler may come while its own thread holds it
        self._queue: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._idempotent: dict[tuple[Callable[..., object], tuple[Any, ...]], None] = {}
        self._closed = False
        self._woken = True
        """Nobody has to wake the task: it runs, or is about to."""
        self._task: asyncio.Task[Any] | None = None

    def run_sync_soon(self, sync_fn: Callable[..., object], *args: Any, idempotent: bool = False) -> None:
        """Have `sync_fn(*args)` called in the loop's thread, soon, first come first served; returns at once.

        Can be called from any thread and from signal handlers. With `idempotent`, a call that waits already is not
        queued again. What `sync_fn` raises ends the run with an InternalError. RunFinishedError if the run is over.
        """
        with self._lock:
            if self._closed or self._loop.is_closed():
                raise RunFinishedError("run() has finished")
            if idempotent:
                self._idempotent[(sync_fn, args)] = None
            else:
                self._queue.append((sync_fn, args))
            if not self._woken:
                self._woken = True
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            _reschedule(task)

    def _run_queued(self) -> None:
        """Runs what is queued now; what that queues comes later, so that it can keep nobody else from running."""
        for _ in range(len(self._queue)):
            self._call(*self._queue.popleft())
        for call in list(self._idempotent):
            # Taken out first: once it runs, it may be queued again.
            del self._idempotent[call]
            self._call(*call)

    def _call(self, sync_fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            sync_fn(*args)
        except BaseException as exc:
            _fail(self._loop, exc)

    async def _serve(self) -> None:
        """The system task in which the calls are made."""

        def give_up(_: RaiseCancel) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        try:
            while True:
                self._run_queued()
                with self._lock:
                    self._woken = bool(self._queue or self._idempotent)
                if self._woken:
                    await checkpoint()
                else:
                    self._task = current_task()
                    await wait_task_rescheduled(give_up)
        finally:
            with self._lock:
                self._closed = True
            while self._queue or self._idempotent:
                self._run_queued()

    def _size(self) -> int:
        return len(self._queue) + len(self._idempotent)


async def _raise(exc: BaseException) -> None:
    raise exc


def _fail(loop: asyncio.AbstractEventLoop, exc: BaseException) -> None:
    """Ends the run with what a call raised."""
    late = vars(loop).get("_late_nursery")
    try:
        spawn_system_task(_raise, exc)
    except RuntimeError:
        # The system tasks have ended.
        if late is None:
            raise
        late.start_soon(_raise, exc)


def current_trio_token() -> TrioToken:
    """The running loop's token: the same object in all of a run. RuntimeError outside of one."""
    loop = asyncio.get_running_loop()
    token: TrioToken | None = vars(loop).get("_token")
    if token is None:
        token = vars(loop)["_token"] = TrioToken(loop)
        spawn_system_task(token._serve, name="<TrioToken.run_sync_soon task>")
    return token
