"""Nurseries: tasks that live in a block, and the block that waits for them.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#nurseries-and-spawning. A
nursery is strict: what its tasks raise always comes out as an exception group. What differs, since our
tasks are asyncio's: a child that was cancelled by `Task.cancel()` just ends, and a nursery out of which
only cancellations come raises one, not a group. Cancelling, shields and which exception is whose are in
Rust (`_core.CancelScope`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final

from ._core import CancelScope, Task, cancellation


class TaskStatus:
    """What `Nursery.start` gives to the function it starts, as `task_status`."""

    __slots__ = ("_caller", "_nursery", "_started", "_value")

    def __init__(self, caller: Nursery, nursery: Nursery) -> None:
        self._caller = caller
        self._nursery = nursery
        self._started = False
        self._value: Any = None

    def started(self, value: Any = None) -> None:
        """Let `start()` return `value`; the task now belongs to the nursery. RuntimeError if called twice."""
        if self._started:
            raise RuntimeError("task_status.started() was called twice")
        self._started = True
        self._value = value
        # If start() is being cancelled, the task ends where it is: nobody would catch its cancellation
        # elsewhere.
        if not self._caller.cancel_scope._is_effective():
            self._caller._hand_over_to(self._nursery)


class _IgnoredStatus:
    """The default of a `task_status` parameter, for functions that are also called directly."""

    def started(self, value: Any = None) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "TASK_STATUS_IGNORED"


TASK_STATUS_IGNORED: Final = _IgnoredStatus()


def _nursery_of(loop: asyncio.AbstractEventLoop) -> dict[asyncio.Task[Any], Nursery]:
    """Every running child with its nursery; kept by the loop, so that no running task is ever collected."""
    found: dict[asyncio.Task[Any], Nursery] = vars(loop).setdefault("_nursery_of", {})
    return found


class Nursery:
    """The tasks of an `async with segue.open_nursery()` block."""

    def __init__(
        self, scope: CancelScope, parent: asyncio.Task[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._scope = scope
        self._parent = parent
        self._loop = loop
        self._nursery_of = _nursery_of(loop)
        self._children: set[asyncio.Task[Any]] = set()
        self._exceptions: list[BaseException] = []
        self._starting = 0
        self._body_runs = True
        self._closed = False
        self._all_done: asyncio.Future[None] | None = None

    @property
    def cancel_scope(self) -> CancelScope:
        """The scope around the block and all its tasks."""
        return self._scope

    @property
    def child_tasks(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks that still run."""
        return frozenset(self._children)

    @property
    def parent_task(self) -> asyncio.Task[Any]:
        """The task that opened the nursery."""
        return self._parent

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None) -> None:
        """Start `async_fn(*args)` as a task of this nursery. It runs at least up to its first suspension.

        Raises RuntimeError if the nursery is closed, TypeError if `async_fn(*args)` is no coroutine.
        """
        self._check_open()
        self._spawn(async_fn, args, {}, name)

    async def start(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None) -> Any:
        """Start `async_fn(*args, task_status=...)`, wait until it calls `task_status.started(value)`,
        return value.

        Until then the task is in the scopes of the caller, and what it raises is raised here; afterwards
        it belongs to this nursery. Raises RuntimeError if the task ends without having called
        `started()`.
        """
        self._check_open()
        self._starting += 1
        try:
            async with _NurseryBlock(for_one=True) as caller:
                status = TaskStatus(caller, self)
                caller._spawn(async_fn, args, {"task_status": status}, name)
        finally:
            self._starting -= 1
            self._close_if_done()
        if not status._started:
            raise RuntimeError(f"{_name_of(async_fn)} ended without calling task_status.started()")
        return status._value

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this nursery is closed: its block was left and all its tasks have ended")

    def _spawn(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: object,
    ) -> None:
        if asyncio.iscoroutine(async_fn):
            async_fn.close()
            raise TypeError("pass the function and its arguments: start_soon(f, x), not start_soon(f(x))")
        coro = async_fn(*args, **kwargs)
        if not asyncio.iscoroutine(coro):
            raise TypeError(
                f"{_name_of(async_fn)} is no async function: it returned {coro!r}, not a coroutine"
            )
        try:
            task: asyncio.Task[Any] = Task(
                coro, loop=self._loop, name=str(name) if name else _name_of(async_fn)
            )
        except BaseException:
            coro.close()
            raise
        self._scope._adopt(task)
        self._children.add(task)
        self._nursery_of[task] = self
        task.add_done_callback(_child_done)

    def _hand_over_to(self, other: Nursery) -> None:
        """Give all children, and the scopes they have opened, to another nursery."""
        self._scope._move_contents(other._scope)
        for task in self._children:
            self._nursery_of[task] = other
        other._children |= self._children
        self._children.clear()
        self._close_if_done()

    def _child_ended(self, task: asyncio.Task[Any]) -> None:
        self._children.discard(task)
        if task.cancelled():
            exc = task._make_cancelled_error()  # type: ignore[attr-defined]
            info = cancellation(exc)
            if info is not None and info.scoped:
                self._add(exc, task)
        else:
            failure = task.exception()
            if failure is not None:
                self._add(failure, task)
        self._close_if_done()

    def _add(self, exc: BaseException, task: asyncio.Task[Any]) -> None:
        self._exceptions.append(exc)
        self._scope._cancel_for_failure(exc, task)

    def _close_if_done(self) -> None:
        if self._body_runs or self._children or self._starting:
            return
        self._closed = True
        if self._all_done is not None and not self._all_done.done():
            self._all_done.set_result(None)

    async def _wait(self, exc: BaseException | None, for_one: bool) -> BaseException | None:
        """The block has ended with `exc`: wait for the children; returns what all of them raised.

        A schedule point, not a cancel point: the scopes around cancel the children, and they end by
        themselves. A `Task.cancel()` is not swallowed: it cancels the nursery and is passed on.
        `for_one`: a lone exception is not wrapped in a group.
        """
        if exc is not None:
            self._add(exc, self._parent)
        self._body_runs = False
        self._close_if_done()
        self._scope._hold(True)
        try:
            waited = False
            while not (self._closed and waited):
                waited = True
                try:
                    if self._closed:
                        await asyncio.sleep(0)
                    else:
                        self._all_done = self._loop.create_future()
                        await self._all_done
                except asyncio.CancelledError as native:
                    self._add(native, self._parent)
        finally:
            self._scope._hold(False)
        found, self._exceptions = self._exceptions, []
        try:
            return found[0] if for_one and len(found) == 1 else _combined(found)
        finally:
            found.clear()  # no cycle of exceptions and frames


def _combined(exceptions: list[BaseException]) -> BaseException | None:
    if not exceptions:
        return None
    if any(not isinstance(exc, asyncio.CancelledError) for exc in exceptions):
        return BaseExceptionGroup("unhandled errors in a nursery", exceptions)
    for exc in exceptions:
        info = cancellation(exc)
        if info is None or not info.scoped:
            return exc
    return exceptions[0]


def _name_of(async_fn: object) -> str:
    while hasattr(async_fn, "func"):  # functools.partial
        async_fn = async_fn.func
    return getattr(async_fn, "__qualname__", None) or repr(async_fn)


def _child_done(task: asyncio.Task[Any]) -> None:
    _nursery_of(task.get_loop()).pop(task)._child_ended(task)


class _NurseryBlock:
    """What `open_nursery()` returns: `async with` only."""

    __slots__ = ("_for_one", "_nursery")

    def __init__(self, *, for_one: bool = False) -> None:
        self._for_one = for_one

    async def __aenter__(self) -> Nursery:
        loop = asyncio.get_running_loop()
        scope = CancelScope()
        scope.__enter__()
        parent = asyncio.current_task()
        assert parent is not None  # the scope has checked
        self._nursery = Nursery(scope, parent, loop)
        return self._nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        raised = await nursery._wait(exc, self._for_one)
        try:
            return nursery._scope._close(raised, exc)
        finally:
            del raised, exc, tb, nursery, self  # no cycle of exceptions and frames


def open_nursery() -> _NurseryBlock:
    """A nursery: `async with segue.open_nursery() as nursery: nursery.start_soon(f, x)`.

    The block is left when all its tasks have ended. If one raises, the others are cancelled, and what
    was raised comes out as an ExceptionGroup. Leaving is a schedule point, never by itself a cancel
    point.
    """
    return _NurseryBlock()
