"""What `segue.lowlevel` adds to the Rust core: the current task, variables of a run, system tasks, waiting
for descriptors.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import gc
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, NoReturn, TypeVar

from ._core import Task, _cancelled_error_for

T = TypeVar("T")


class Abort(enum.Enum):
    """What an abort function says: may the wait be cancelled?"""

    SUCCEEDED = 1
    FAILED = 2


RaiseCancel = Callable[[], NoReturn]


def _ask_to_abort(abort_fn: Callable[[RaiseCancel], Abort], task: asyncio.Task[Any]) -> bool:
    """Called by the core when a task in `wait_task_rescheduled` is cancelled."""

    def raise_cancel() -> NoReturn:
        raise _cancelled_error_for(task)

    try:
        answer = abort_fn(raise_cancel)
        if not isinstance(answer, Abort):
            raise TypeError(f"abort function must return Abort enum, not {answer!r}")
    except BaseException as exc:
        crash = vars(task.get_loop()).get("_crash")
        if crash is None:
            raise
        crash(exc)
        return False
    return answer is Abort.SUCCEEDED


def current_task() -> Task[Any]:
    """The task that runs now. RuntimeError outside of one."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is None:
        raise RuntimeError("must be called from async context")
    return task  # type: ignore[return-value]  # what runs here is a task of ours


def _await_frames(awaitable: Any) -> Iterator[tuple[types.FrameType, int]]:
    """`Task.iter_await_frames()`: what a task's coroutine awaits, from the outside to the inside."""
    while awaitable is not None:
        if type(awaitable).__name__ in ("async_generator_asend", "async_generator_athrow"):
            # They don't say whose they are.
            awaitable = next((o for o in gc.get_referents(awaitable) if hasattr(o, "ag_frame")), None)
        for frame_name, awaits in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
            if hasattr(awaitable, frame_name):
                if (frame := getattr(awaitable, frame_name)) is not None:
                    yield frame, frame.f_lineno
                awaitable = getattr(awaitable, awaits)
                break
        else:
            return


def current_root_task() -> Task[Any] | None:
    """The task that the run began with, or None if the loop wasn't started by `segue.trio.run`."""
    return vars(asyncio.get_running_loop()).get("_root_task")


def in_run() -> bool:
    """Whether a loop of Segue runs in this thread."""
    from ._loop import EventLoop

    return isinstance(asyncio._get_running_loop(), EventLoop)


def in_task() -> bool:
    """Whether the caller runs in a task on a loop of Segue."""
    return in_run() and asyncio.current_task() is not None


_NOT_SET: Any = object()


class RunVarToken(Generic[T]):
    """What `RunVar.set` returns, for `RunVar.reset`."""

    __slots__ = ("_var", "_values", "previous_value", "redeemed")

    def __init__(self, var: RunVar[T], values: dict[RunVar[Any], Any], previous: T) -> None:
        self._var = var
        self._values = values
        self.previous_value = previous
        self.redeemed = False


class RunVar(Generic[T]):
    """A variable with one value for each running loop. Semantics: trio.lowlevel.RunVar."""

    __slots__ = ("_name", "_default", "__weakref__")

    def __init__(self, name: str, default: T = _NOT_SET) -> None:
        self._name = name
        self._default = default

    @staticmethod
    def _values() -> dict[RunVar[Any], Any]:
        loop = asyncio._get_running_loop()
        if loop is None:
            raise RuntimeError("Cannot be used outside of a run context")
        values: dict[RunVar[Any], Any] = vars(loop).setdefault("_run_vars", {})
        return values

    def get(self, default: T = _NOT_SET) -> T:
        """The value; else `default`, the variable's own default, or LookupError."""
        values = self._values()
        if self in values:
            return values[self]  # type: ignore[no-any-return]
        for candidate in (default, self._default):
            if candidate is not _NOT_SET:
                return candidate
        raise LookupError(self)

    def set(self, value: T) -> RunVarToken[T]:
        """Set the value for this loop; returns what `reset` needs."""
        values = self._values()
        token = RunVarToken(self, values, values.get(self, _NOT_SET))
        values[self] = value
        return token

    def reset(self, token: RunVarToken[T]) -> None:
        """Take a `set` back. ValueError for a token of another variable, another loop, or used before."""
        if token is None:
            raise TypeError("token must not be none")
        if token.redeemed:
            raise ValueError("token has already been used")
        if token._var is not self:
            raise ValueError("token is not for us")
        values = self._values()
        if token._values is not values:
            raise ValueError("token is not for this run context")
        if token.previous_value is _NOT_SET:
            values.pop(self, None)
        else:
            values[self] = token.previous_value
        token.redeemed = True

    def __repr__(self) -> str:
        return f"<RunVar name={self._name!r}>"


def spawn_system_task(
    async_fn: Callable[..., Awaitable[Any]],
    *args: Any,
    name: object = None,
    context: contextvars.Context | None = None,
) -> Task[Any]:
    """Start a task that belongs to nobody: held by the loop, cancelled at its end, outside of all scopes.

    Without `context` it runs in the context in which the loop was started. If it fails, the loop's exception
    handler is told (`segue.trio.run` ends with an InternalError).
    """
    from ._nursery import _name_of, _not_async

    loop = asyncio.get_running_loop()
    if asyncio.iscoroutine(async_fn) or not callable(async_fn):
        raise _not_async(async_fn, None)
    coro = async_fn(*args)
    if not asyncio.iscoroutine(coro):
        raise _not_async(async_fn, coro)
    attributes = vars(loop)
    named = str(name) if name is not None else _name_of(async_fn)
    if context is None:
        context = attributes.get("_system_context")
        context = context.copy() if context is not None else contextvars.copy_context()
    if "_root_task" in attributes:
        return _spawn_in_run(attributes, async_fn, coro, named, context)
    task: Task[Any] = Task(coro, loop=loop, name=named, context=context)
    running: set[asyncio.Task[Any]] = attributes.setdefault("_system_tasks", set())
    running.add(task)
    task.add_done_callback(_system_task_ended)
    return task


def _spawn_in_run(
    attributes: dict[str, Any],
    async_fn: Callable[..., Awaitable[Any]],
    coro: Any,
    name: str,
    context: contextvars.Context,
) -> Task[Any]:
    """As a task of the nursery that `segue.trio.run` has for them."""
    nursery = attributes.get("_system_nursery")
    if nursery is None:
        coro.close()
        raise RuntimeError("Nursery is closed to new arrivals")
    before = nursery.child_tasks
    context.run(nursery._spawn, async_fn, coro, name)
    (task,) = nursery.child_tasks - before
    return task  # type: ignore[no-any-return]


def _system_task_ended(task: asyncio.Task[Any]) -> None:
    attributes = vars(task.get_loop())
    attributes["_system_tasks"].discard(task)
    crashed = attributes.get("_system_task_crashed")
    if crashed is not None:
        crashed(task)
    elif not task.cancelled() and (exc := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"system task {task.get_name()} failed", "exception": exc, "task": task}
        )


class _Readiness:
    """Who waits for which descriptor on one loop."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.waiting: dict[tuple[int, bool], asyncio.Future[None]] = {}

    async def wait(self, fd: int, to_read: bool) -> None:
        from ._errors import BusyResourceError

        key = (fd, to_read)
        if key in self.waiting:
            raise BusyResourceError("another task is already reading / writing this fd")
        # For one event: a descriptor that was closed while it is open elsewhere can't be told any more to be quiet.
        woken: asyncio.Future[None] = self.loop._when_ready(fd, to_read)
        self.waiting[key] = woken
        try:
            await woken
        finally:
            if self.waiting.get(key) is woken:
                del self.waiting[key]
                self.loop._not_when_ready(fd, woken)

    async def wait_readable(self, fd: Any) -> None:
        await self.wait(_descriptor(fd), True)

    async def wait_writable(self, fd: Any) -> None:
        await self.wait(_descriptor(fd), False)

    def closing(self, fd: int) -> None:
        from ._errors import ClosedResourceError

        for to_read in (True, False):
            woken = self.waiting.pop((fd, to_read), None)
            if woken is not None:
                self.loop._not_when_ready(fd, woken)
                if not woken.done():
                    woken.set_exception(ClosedResourceError("another task closed this fd"))


def _readiness() -> _Readiness:
    loop = asyncio.get_running_loop()
    found: _Readiness | None = vars(loop).get("_readiness")
    if found is None:
        found = vars(loop)["_readiness"] = _Readiness(loop)
    return found


def _descriptor(fd: Any) -> int:
    return fd if isinstance(fd, int) else fd.fileno()


async def wait_readable(fd: Any) -> None:
    """Wait until a descriptor (a number, or an object with `fileno()`) can be read. A checkpoint. Cancel-safe.

    BusyResourceError if another task waits for the same, ClosedResourceError after `notify_closing`.
    """
    await _readiness().wait_readable(fd)


async def wait_writable(fd: Any) -> None:
    """Wait until a descriptor can be written to; otherwise as `wait_readable`."""
    await _readiness().wait_writable(fd)


def notify_closing(fd: Any) -> None:
    """Tell those who wait for a descriptor that it is about to be closed: they get ClosedResourceError."""
    _readiness().closing(_descriptor(fd))
