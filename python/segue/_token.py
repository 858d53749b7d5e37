"""`lowlevel.current_trio_token`: the way into a running loop from other threads and from signal handlers.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.TrioToken
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from ._errors import RunFinishedError

Call = tuple[Callable[..., object], tuple[Any, ...]]


class TrioToken:
    """One running loop, for those outside of it. There is one for each loop: see `current_trio_token`."""

    __slots__ = (
        "_asking", "_calls", "_context", "_finished", "_idempotent", "_lock", "_loop", "_scheduled", "__weakref__"
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context: contextvars.Context = vars(loop).get("_system_context") or contextvars.Context()
        self._calls: deque[Call] = deque()
        self._idempotent: dict[Call, None] = {}
        # Reentrant: a signal handler may come in while its own thread is in here.
        self._lock = threading.RLock()
        # The loop has been told that there are calls. Invariant: true while there are any.
        self._scheduled = False
        self._finished = False
        # Requests of threads that wait for an answer (`_threads._Request`).
        self._asking: set[Any] = set()

    def run_sync_soon(self, sync_fn: Callable[..., object], *args: Any, idempotent: bool = False) -> None:
        """Let the loop call `sync_fn(*args)` soon. From any thread, and from signal handlers.

        Calls are made in the order in which they were asked for. With `idempotent`, a call that equals one which
        is still to be made is dropped (function and arguments have to be hashable), and its order is among its own
        kind. If the function raises, that is treated as a system task's failure. RunFinishedError if the loop has
        ended; a call that was accepted is made.
        """
        with self._lock:
            if self._finished or self._loop.is_closed():
                raise RunFinishedError("the loop has ended")
            if idempotent:
                self._idempotent[sync_fn, args] = None
            else:
                self._calls.append((sync_fn, args))
            if self._scheduled:
                return
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._run_calls, context=self._context)

    def _run_calls(self) -> None:
        """Makes the calls that are there now; those that come meanwhile have to wait for others to run."""
        with self._lock:
            self._scheduled = False
            ordinary, idempotent = len(self._calls), list(self._idempotent)
        try:
            for _ in range(ordinary):
                self._make(self._calls.popleft())
            for call in idempotent:
                del self._idempotent[call]  # from now on the same call is a new one
                self._make(call)
        finally:
            # After an exception that ends the loop too: nothing that was accepted is forgotten.
            with self._lock:
                if (self._calls or self._idempotent) and not self._scheduled and not self._finished:
                    self._scheduled = True
                    self._loop.call_soon_threadsafe(self._run_calls, context=self._context)

    def _make(self, call: Call) -> None:
        sync_fn, args = call
        try:
            sync_fn(*args)
        except (KeyboardInterrupt, SystemExit):
            raise  # they end the loop, as in any callback
        except BaseException as exc:
            self._crashed(exc)

    def _crashed(self, exc: BaseException) -> None:
        from ._lowlevel import spawn_system_task

        try:
            spawn_system_task(_raise, exc, name="a call of run_sync_soon")
        except RuntimeError:  # the system tasks have ended
            late: Any = vars(self._loop).get("_late_nursery")
            if late is not None:
                late.start_soon(_raise, exc)
            else:
                self._loop.call_exception_handler({"message": "a call of run_sync_soon failed", "exception": exc})

    def _size(self) -> int:
        """How many calls are still to be made."""
        return len(self._calls) + len(self._idempotent)

    def _finish(self) -> None:
        """The run is over: no more calls are accepted, and those that were are made now. Idempotent.

        Called on the loop's thread, while it still runs if that is possible.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
        self._run_calls()
        for request in list(self._asking):
            request.too_late()


async def _raise(exc: BaseException) -> NoReturn:
    raise exc


def current_trio_token() -> TrioToken:
    """The running loop's token. RuntimeError outside of one."""
    loop = asyncio._get_running_loop()
    if loop is None:
        raise RuntimeError("must be called from async context")
    return _token_of(loop)


def _token_of(loop: asyncio.AbstractEventLoop) -> TrioToken:
    found: TrioToken | None = vars(loop).get("_token")
    if found is None:
        found = vars(loop)["_token"] = TrioToken(loop)
    return found


def _finish_token(loop: asyncio.AbstractEventLoop) -> None:
    """The loop is being closed."""
    found: TrioToken | None = vars(loop).get("_token")
    if found is not None:
        found._finish()
