"""Nurseries: tasks that live in a block, and the block that waits for them.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#nurseries-and-spawning. A
nursery is strict: what its tasks raise always comes out as an exception group. What differs, since our
tasks are asyncio's: a child that was cancelled by `Task.cancel()` just ends, and a nursery out of which
only cancellations come raises one, not a group. Cancelling, shields and which exception is whose are in
Rust (`_core.CancelScope`).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, TypeVar, final

from ._core import CancelScope, NurseryCore, cancellation
from ._errors import InternalError

T = TypeVar("T")


class TaskStatus(Generic[T]):
    """What `Nursery.start` gives to the function it starts, as `task_status`."""

    __slots__ = ("_caller", "_nursery", "_started", "_value")

    def __init__(self, caller: Nursery, nursery: Nursery) -> None:
        self._caller = caller
        self._nursery = nursery
        self._started = False
        self._value: Any = None

    def __repr__(self) -> str:
        return f"<TaskStatus, {'started' if self._started else 'not started'}, at {id(self):#x}>"

    def started(self, value: T | None = None) -> None:
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


TASK_STATUS_IGNORED: Final[TaskStatus[Any]] = _IgnoredStatus()  # type: ignore[assignment]  # it has what is called


def _open_nurseries(loop: asyncio.AbstractEventLoop) -> set[Nursery]:
    """Kept by the loop, so that no running child is ever collected."""
    found: set[Nursery] = vars(loop).setdefault("_open_nurseries", set())
    return found


@final
class Nursery(NurseryCore):
    """The tasks of an `async with segue.open_nursery()` block.

    `start_soon`, `cancel_scope`, `child_tasks` and `parent_task` are in Rust (`_core.NurseryCore`).
    """

    def __init__(self, scope: CancelScope, parent: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._was_combined = False
        """What it raises is a group that was made here."""

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Nursery can't be subclassed")

    async def start(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None) -> Any:
        """Start `async_fn(*args, task_status=...)`, wait until it calls `task_status.started(value)`,
        return value.

        Until then the task is in the scopes of the caller, and what it raises is raised here; afterwards
        it belongs to this nursery. Raises RuntimeError if the task ends without having called
        `started()`.
        """
        self._check_open()
        self._starting(1)
        several = child = None
        try:
            async with _NurseryBlock(strict=False) as caller:
                status: TaskStatus[Any] = TaskStatus(caller, self)
                caller._start(async_fn, args, status, name)
                (child,) = caller.child_tasks
                child.eventual_parent_nursery = self
        except BaseExceptionGroup as group:
            if not caller._was_combined:
                raise
            several = group
        finally:
            self._starting(-1)
            if child is not None:
                child.eventual_parent_nursery = None
                del child  # no cycle of exceptions and frames
        if several is not None:
            raise InternalError(
                "only one task belongs into the nursery of start(); did the task start others in its parent_nursery?"
            ) from several
        if not status._started:
            raise RuntimeError(f"child exited without calling task_status.started(): {_name_of(async_fn)}")
        return status._value

    def _start(
        self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], status: TaskStatus[Any], name: object
    ) -> None:
        if asyncio.iscoroutine(async_fn) or not callable(async_fn):
            raise _not_async(async_fn, None)
        coro = async_fn(*args, task_status=status)
        if not asyncio.iscoroutine(coro):
            raise _not_async(async_fn, coro)
        self._spawn(async_fn, coro, name)

    async def _wait(self, exc: BaseException | None, strict: bool) -> BaseException | None:
        """The block has ended with `exc`: wait for the children; returns what all of them raised.

        A schedule point, not a cancel point: the scopes around cancel the children, and they end by
        themselves. A `Task.cancel()` is not swallowed: it cancels the nursery and is passed on.
        Not `strict`: a lone exception is not wrapped in a group.
        """
        parent = self.parent_task
        if exc is not None:
            self._add(exc, parent)
        self._body_ended()
        self.cancel_scope._hold(True)
        try:
            waited = False
            while not (self._closed and waited):
                waited = True
                try:
                    if self._closed:
                        await asyncio.sleep(0)
                    else:
                        await self._all_ended()
                except asyncio.CancelledError as native:
                    self._add(native, parent)
        finally:
            self.cancel_scope._hold(False)
        found = self._take_exceptions()
        try:
            _add_context(found, exc, sys.exception())
            if not strict and len(found) == 1:
                return found[0]
            self._was_combined = any(not isinstance(raised, asyncio.CancelledError) for raised in found)
            combined = _combined(found)
            if self._was_combined and not strict:
                assert combined is not None  # it is a group
                combined.add_note(_LOOSE)
            return combined
        finally:
            found.clear()
            del exc  # no cycle of exceptions and frames


def _left_open(task: Any, exc: BaseException | None) -> BaseException:
    """Called by the core for a task that has ended, with `exc` if it raised, inside of nurseries it has opened itself.

    Nobody will wait for what runs in them: it is cancelled. Returns what counts as the task's failure.
    """
    nurseries = list(task.child_nurseries)
    scopes = ", ".join(repr(nursery.cancel_scope) for nursery in nurseries)
    for nursery in reversed(nurseries):
        nursery._listed(False)
        nursery._abandon()
        nursery.cancel_scope.cancel(reason="the task that had opened this nursery has ended in it")
        _forget_when_empty(nursery)
    error = RuntimeError(
        f"Nursery stack corrupted: task {task.get_name()!r} has ended without leaving "
        f"{len(nurseries)} nursery block(s) that it had entered: {scopes}. Use `async with open_nursery()`"
    )
    error.__context__ = exc
    return error


def _forget_when_empty(nursery: Nursery) -> None:
    """Nobody will leave it: the loop keeps it as long as it has tasks."""
    nurseries = _open_nurseries(nursery.parent_task.get_loop())

    def ended(_: object) -> None:
        if not nursery.child_tasks:
            nurseries.discard(nursery)

    for child in nursery.child_tasks:
        child.add_done_callback(ended)
    ended(None)


def _add_context(found: list[BaseException], own: BaseException | None, handled: BaseException | None) -> None:
    """`handled`, in whose handling the nursery was, ends the chain of what cancellations were raised in the context of.

    So that a scope sees that a `Task.cancel()` was under way, and doesn't take it for its own. `own`, which left the
    block, has its context already.
    """
    if handled is not None:
        for exc in found:
            if isinstance(exc, asyncio.CancelledError) and exc is not own:
                _end_context(exc, handled)


def _end_context(exc: BaseException, handled: BaseException) -> None:
    seen = {id(exc)}
    while (context := exc.__context__) is not None and id(context) not in seen:
        seen.add(id(context))
        exc = context
    if exc.__context__ is None and exc is not handled and id(handled) not in seen:
        exc.__context__ = handled


_ERRORS = "unhandled errors in a nursery"


def _combined(exceptions: list[BaseException]) -> BaseException | None:
    if not exceptions:
        return None
    if any(not isinstance(exc, asyncio.CancelledError) for exc in exceptions):
        # A copy: the group's repr shows the list itself, which is cleared.
        return BaseExceptionGroup(_ERRORS, list(exceptions))
    for exc in exceptions:
        info = cancellation(exc)
        if info is None or not info.scoped:
            return exc
    return exceptions[0]


_LOOSE = "This group is of a nursery with strict_exception_groups=False: it goes if only one exception is left in it."


def _collapsed(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What comes out of a scope that has caught a part of a group: called by the core with the rest."""
    exceptions = [_collapsed(exc) if isinstance(exc, BaseExceptionGroup) else exc for exc in group.exceptions]
    if len(exceptions) == 1 and _LOOSE in getattr(group, "__notes__", ()):
        return exceptions[0]
    if all(new is old for new, old in zip(exceptions, group.exceptions, strict=True)):
        return group
    changed = group.derive(exceptions)
    for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__"):
        setattr(changed, name, getattr(group, name))
    for note in getattr(group, "__notes__", ()):
        changed.add_note(note)
    return changed


def _name_of(async_fn: object) -> str:
    """What a task is called that runs `async_fn`."""
    while isinstance(async_fn, functools.partial):
        async_fn = async_fn.func
    try:
        return f"{async_fn.__module__}.{async_fn.__qualname__}"  # type: ignore[attr-defined]
    except AttributeError:
        return repr(async_fn)


_EXPECTING = "Segue was expecting"


def _not_async(async_fn: object, returned: object) -> TypeError:
    """The error for what can't be started: `async_fn` itself, or what calling it has returned."""
    if asyncio.iscoroutine(async_fn):
        async_fn.close()
        return TypeError(
            f"{_EXPECTING} an async function, but instead it got a coroutine object "
            f"{async_fn!r}\n\nProbably you wrote start_soon(f(x)); it has to be start_soon(f, x)"
        )
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        return TypeError(
            "start_soon expected an async function but got an async generator "
            f"{async_fn!r}; use `async for` to read from it"
        )
    if isinstance(returned, asyncio.Future):
        return TypeError(
            f"start_soon expected an async function, but {_name_of(async_fn)} returned the future {returned!r}; "
            "start a function that awaits it"
        )
    if not callable(async_fn):
        return TypeError(f"Segue expected an async function, but got {async_fn!r}")
    return TypeError(
        f"Segue expected an async function, but {async_fn!r} appears to be synchronous: it returned {returned!r}"
    )


class _NurseryBlock:
    """What `open_nursery()` returns: `async with` only."""

    __slots__ = ("_nursery", "_strict")

    def __init__(self, *, strict: bool | None = None) -> None:
        self._strict = strict

    def __enter__(self) -> NoReturn:
        raise RuntimeError("use 'async with open_nursery(...)', not 'with open_nursery(...)'")

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> Nursery:
        loop = asyncio.get_running_loop()
        if self._strict is None:
            self._strict = vars(loop).get("_strict_exception_groups", True)
        scope = CancelScope()
        scope.__enter__()
        parent = asyncio.current_task()
        assert parent is not None  # the scope has checked
        self._nursery = Nursery(scope, parent, loop)
        self._nursery._listed(True)
        _open_nurseries(loop).add(self._nursery)
        return self._nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        nursery = self._nursery
        if nursery._abandoned:
            return self._leave_abandoned(exc)
        raised = await nursery._wait(exc, self._strict is not False)
        try:
            nursery._listed(False)
            _open_nurseries(nursery.parent_task.get_loop()).discard(nursery)
            return nursery.cancel_scope._close(raised, exc)
        finally:
            del raised, exc, tb, nursery, self  # no cycle of exceptions and frames

    def _leave_abandoned(self, exc: BaseException | None) -> bool:
        """The task that opened the nursery has ended in it, and its own nursery knows: there is nothing to wait for.

        What the block raises is in a group, as ever.
        """
        if exc is None or isinstance(exc, asyncio.CancelledError) or self._strict is False:
            return False
        group = BaseExceptionGroup(_ERRORS, [exc])
        try:
            raise group
        finally:
            group.__context__ = None  # it is in the group
            del group, exc, self  # no cycle of exceptions and frames


def open_nursery(strict_exception_groups: bool | None = None) -> _NurseryBlock:
    """A nursery: `async with segue.open_nursery() as nursery: nursery.start_soon(f, x)`.

    The block is left when all its tasks have ended. If one raises, the others are cancelled, and what
    was raised comes out as an ExceptionGroup. Leaving is a schedule point, never by itself a cancel
    point.

    `strict_exception_groups`: False, which Trio has deprecated, lets a single exception out without a group.
    By default what `segue.trio.run` was told, else True.
    """
    if strict_exception_groups is not None and not strict_exception_groups:
        from .trio._run import _warn_of_lone_exceptions

        _warn_of_lone_exceptions()
    return _NurseryBlock(strict=strict_exception_groups)
