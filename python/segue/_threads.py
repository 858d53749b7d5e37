"""`to_thread` and `from_thread`: blocking functions for tasks, and the way back.

| the thread | what it does for the loop | where that runs |
|---|---|---|
| waited for (the default) | `from_thread.run`, `run_sync` | in the task that waits: its scopes, its cancellation |
| may be abandoned, or a token is passed | the same | in a system task, or between tasks |

A task that waits for a thread is woken for each request, and for the result. Requests and results stand in the call's
own queue, not in the wake-up, so that a `Task.cancel()` that comes in between loses none.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#threads-if-you-must
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack, cast

from . import _thread_cache
from ._core import (
    CapacityLimiter,
    Event,
    _cancel_again,
    checkpoint,
    checkpoint_if_cancelled,
    reschedule,
    wait_task_rescheduled,
)
from ._errors import RunFinishedError
from ._interrupts import INTERRUPTIBLE
from ._lowlevel import Abort, RaiseCancel, RunVar, current_task, in_run, spawn_system_task
from ._nursery import _not_async
from ._outcome import Error, Value, capture
from ._token import TrioToken, current_trio_token

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_DEFAULT_THREADS = 40


class Limiter(Protocol):
    """What limits the number of threads: a `CapacityLimiter`, or an object with these two methods of it."""

    async def acquire_on_behalf_of(self, borrower: Any) -> None:
        """Wait for a token and take it."""

    def release_on_behalf_of(self, borrower: Any) -> None:
        """Put the token back."""


_default_limiter: RunVar[CapacityLimiter] = RunVar("default_thread_limiter")


def current_default_thread_limiter() -> CapacityLimiter:
    """The limiter of `to_thread.run_sync` calls without one of their own: 40 threads for each loop, to begin with."""
    try:
        return _default_limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_DEFAULT_THREADS)
        _default_limiter.set(limiter)
        return limiter


class _Active:
    """The calls of one loop that tasks wait for."""

    def __init__(self) -> None:
        self.count = 0
        self.none_left = Event()

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        if self.count == 0:
            self.none_left.set()
            self.none_left = Event()


_active: RunVar[_Active] = RunVar("active_threads")


def _active_threads() -> _Active:
    try:
        return _active.get()
    except LookupError:
        _active.set(_Active())
        return _active.get()


def active_thread_count() -> int:
    """How many `to_thread.run_sync` calls have a thread that works and a task that waits for it."""
    return _active_threads().count


async def wait_all_threads_completed() -> None:
    """Wait until `active_thread_count()` is zero. For tests. A checkpoint."""
    await checkpoint()
    active = _active_threads()
    while active.count:
        await active.none_left.wait()


# ---- from a task to a thread ----------------------------------------------------------------------------------------


class _Here(threading.local):
    """What this thread works for."""

    call: _Call | None = None


_here = _Here()


class _Call:
    """A `to_thread.run_sync`: what the task that waits and the thread that works have in common.

    Also whom the limiter's token is for.
    """

    __slots__ = ("abandonable", "cancelled", "incoming", "limiter", "name", "task", "token", "waiting")

    def __init__(self, name: str, abandonable: bool, limiter: Limiter) -> None:
        self.name = name
        self.abandonable = abandonable
        self.limiter = limiter
        self.token = current_trio_token()
        self.task = current_task()
        # The exception of a cancellation that has met the call.
        self.cancelled: asyncio.CancelledError | None = None
        # What the thread has for the task: requests, and at the end its result.
        self.incoming: deque[_Request | Value[Any] | Error] = deque()
        # The task stands in `wait_task_rescheduled`.
        self.waiting = False

    def __repr__(self) -> str:
        return f"<to_thread.run_sync: {self.name}>"

    # In the thread:

    def work(self, context: contextvars.Context, sync_fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        _here.call = self
        try:
            return _check_sync(context.run(sync_fn, *args), sync_fn, "sync")
        finally:
            _here.call = None

    def deliver(self, result: Value[Any] | Error) -> None:
        try:
            self.token.run_sync_soon(self.finished, result)
        except RunFinishedError:
            pass  # the task has long been cancelled, and has abandoned us

    # On the loop:

    def finished(self, result: Value[Any] | Error) -> None:
        try:
            self.limiter.release_on_behalf_of(self)
        except BaseException as exc:
            if isinstance(result, Error):
                exc.__context__ = result.error
            result = Error(exc)
        self.put(result)

    def put(self, message: _Request | Value[Any] | Error) -> None:
        self.incoming.append(message)
        if self.waiting:
            self.waiting = False
            reschedule(self.task)

    def abort(self, raise_cancel: RaiseCancel) -> Abort:
        try:
            raise_cancel()
        except asyncio.CancelledError as exc:
            self.cancelled = exc.with_traceback(None)
        if not self.abandonable:
            return Abort.FAILED
        self.waiting = False
        return Abort.SUCCEEDED

    async def result(self) -> Any:
        """Wait for the thread, and do what it asks for meanwhile."""
        interrupted: asyncio.CancelledError | None = None
        while True:
            if not self.incoming:
                self.waiting = True
                try:
                    await wait_task_rescheduled(self.abort)
                except asyncio.CancelledError as exc:
                    if self.abandonable:
                        raise
                    interrupted = exc  # a Task.cancel(): it waits until the thread is done
                finally:
                    self.waiting = False
                continue
            message = self.incoming.popleft()
            if isinstance(message, _Request):
                await message.answer_in_task()
                continue
            if interrupted is not None and not _is_cancellation(message):
                # The result must not be lost, nor the cancellation: that is for the next suspension.
                _cancel_again(self.task, interrupted)
            try:
                return message.unwrap()
            finally:
                del message, interrupted  # no cycle of exceptions and frames


def _is_cancellation(result: Value[Any] | Error) -> bool:
    return isinstance(result, Error) and isinstance(result.error, asyncio.CancelledError)


def _check_sync(returned: T, sync_fn: Callable[..., Any], kind: str) -> T:
    if inspect.iscoroutine(returned):
        returned.close()
        name = getattr(sync_fn, "__qualname__", sync_fn)
        raise TypeError(f"Segue expected a {kind} function, but {name!r} appears to be asynchronous")
    return returned


def _context_for_thread() -> contextvars.Context:
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # A program may have said that it runs on asyncio; its threads don't.
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


async def to_thread_run_sync(
    sync_fn: Callable[[Unpack[Ts]], T],
    *args: *Ts,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: Limiter | None = None,
) -> T:
    """Call `sync_fn(*args)` in a worker thread, and wait for what it returns or raises. A checkpoint.

    `thread_name`: what the thread is called meanwhile; by default after the function and the task. `limiter`: has to
    give a token first, which it gets back when the thread is done (not at all if the loop ends before); by default
    `current_default_thread_limiter()`. The function runs in a copy of the task's context variables, and can use
    `from_thread`.

    Cancellation: nothing can stop a thread. Once it works, the call isn't cancelled but waits for it; the function can
    ask with `from_thread.check_cancelled()`. With `abandon_on_cancel` the call is cancelled at once, the thread goes
    on by itself, and what it returns or raises is dropped.

    https://trio.readthedocs.io/en/stable/reference-core.html#trio.to_thread.run_sync
    """
    await checkpoint_if_cancelled()
    abandonable = bool(abandon_on_cancel)
    if limiter is None:
        limiter = current_default_thread_limiter()
    if thread_name is None:
        thread_name = f"{getattr(sync_fn, '__name__', None)} from {current_task().get_name()}"
    call = _Call(thread_name, abandonable, limiter)
    context = _context_for_thread()
    await limiter.acquire_on_behalf_of(call)
    with _active_threads():
        try:
            _thread_cache.start_thread_soon(lambda: call.work(context, sync_fn, args), call.deliver, thread_name)
        except BaseException:
            limiter.release_on_behalf_of(call)
            raise
        return cast(T, await call.result())


# ---- from a thread to the loop --------------------------------------------------------------------------------------


class _InContext:
    """An awaitable that runs a coroutine, in the same task, with other context variables.

    (A task's own context can't be exchanged.)
    """

    __slots__ = ("_context", "_coro")

    def __init__(self, coro: Any, context: contextvars.Context) -> None:
        self._coro = coro
        self._context = context

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> _InContext:
        return self

    def __next__(self) -> Any:
        return self._context.run(self._coro.send, None)

    def send(self, value: Any) -> Any:
        return self._context.run(self._coro.send, value)

    def throw(self, *exc: Any) -> Any:
        return self._context.run(self._coro.throw, *exc)

    def close(self) -> None:
        self._context.run(self._coro.close)


class _Request:
    """A `from_thread.run` or `run_sync`: what a thread that waits wants the loop to do."""

    __slots__ = ("args", "context", "fn", "is_async", "reply")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], is_async: bool) -> None:
        self.fn = fn
        self.args = args
        self.is_async = is_async
        self.context = contextvars.copy_context()
        self.reply: SimpleQueue[Value[Any] | Error] = SimpleQueue()

    async def answer_in_task(self) -> None:
        """The task that waits for the thread does it."""
        if self.is_async:
            await self._answer_async(_InContext(self._call_async(), self.context))
        else:
            self._answer_sync()

    def answer_on_loop(self) -> None:
        """It isn't done for a task: called between tasks."""
        if asyncio._get_running_loop() is None:
            self.too_late()
        elif not self.is_async:
            self._answer_sync()
        else:
            try:
                spawn_system_task(self._answer_as_task, name=self.fn, context=self.context)
            except RuntimeError:
                self.too_late()

    def too_late(self) -> None:
        self.reply.put(Error(RunFinishedError("the loop is ending and takes no new tasks")))

    def _answer_sync(self) -> None:
        self.reply.put(capture(self._call_sync))

    def _call_sync(self) -> Any:
        return _check_sync(self.context.run(self.fn, *self.args), self.fn, "synchronous")

    async def _answer_as_task(self) -> None:
        await self._answer_async(self._call_async())

    async def _answer_async(self, awaitable: Awaitable[Any]) -> None:
        try:
            result: Value[Any] | Error = Value(await awaitable)
        except BaseException as exc:
            result = Error(exc)
        self.reply.put(result)

    async def _call_async(self) -> Any:
        coro = self.fn(*self.args)
        if not inspect.isawaitable(coro):
            raise _not_async(self.fn, coro)
        return await coro


# Ctrl-C goes to the thread that asked.
INTERRUPTIBLE.update((_Request._call_sync.__code__, _Request._call_async.__code__))


def _ask(trio_token: TrioToken | None, request: _Request) -> Any:
    """Hands a request to the loop, and waits for the answer."""
    call = _here.call
    if trio_token is None:
        if call is None:
            raise RuntimeError("this thread wasn't started by to_thread.run_sync; pass trio_token=...")
    elif not isinstance(trio_token, TrioToken):
        raise RuntimeError(f"trio_token has to be a TrioToken, not {trio_token!r}")
    if in_run():
        raise RuntimeError("this is a blocking function; call it from a thread")
    if trio_token is not None:
        token, answer = trio_token, request.answer_on_loop
    else:
        assert call is not None
        token, answer = call.token, request.answer_on_loop if call.abandonable else partial(call.put, request)
    token._asking.add(request)
    try:
        token.run_sync_soon(answer)
        return request.reply.get().unwrap()
    finally:
        token._asking.discard(request)


def from_thread_run(
    afn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, trio_token: TrioToken | None = None
) -> T:
    """From a worker thread: call `await afn(*args)` on the loop, and wait for what it returns or raises.

    It runs in the task that waits for this thread, with the thread's context variables, and is cancelled with that
    task; where the thread may be abandoned, in a system task. With `trio_token` any thread can call this, and it runs
    in a system task of that loop. RuntimeError on a loop's own thread, or without a token in a thread that
    `to_thread.run_sync` didn't start; RunFinishedError if the loop has ended; TypeError if `afn` isn't asynchronous.

    https://trio.readthedocs.io/en/stable/reference-core.html#trio.from_thread.run
    """
    return cast(T, _ask(trio_token, _Request(afn, args, True)))


def from_thread_run_sync(
    fn: Callable[[Unpack[Ts]], T], *args: *Ts, trio_token: TrioToken | None = None
) -> T:
    """From a worker thread: call `fn(*args)` on the loop's thread, and wait for what it returns or raises.

    Where it runs, and the errors, are those of `from_thread.run`; TypeError if `fn` is asynchronous.

    https://trio.readthedocs.io/en/stable/reference-core.html#trio.from_thread.run_sync
    """
    return cast(T, _ask(trio_token, _Request(fn, args, False)))


def from_thread_check_cancelled() -> None:
    """From a worker thread: raise Cancelled if the `to_thread.run_sync` call that it works for was cancelled.

    Whether or not the call waits for the thread. RuntimeError in other threads.

    https://trio.readthedocs.io/en/stable/reference-core.html#trio.from_thread.check_cancelled
    """
    call = _here.call
    if call is None:
        raise RuntimeError("this thread wasn't started by to_thread.run_sync, so nothing can cancel it")
    if call.cancelled is not None:
        again = asyncio.CancelledError(*call.cancelled.args)
        again.__dict__.update(call.cancelled.__dict__)  # says by which scope
        raise again


# Under the names that programs know them by, in errors and documentation too.
for _function, _name in (
    (to_thread_run_sync, "run_sync"),
    (from_thread_run, "run"),
    (from_thread_run_sync, "run_sync"),
    (from_thread_check_cancelled, "check_cancelled"),
):
    _function.__name__ = _function.__qualname__ = _name
del _function, _name
