"""What a recording can't see from the loop's events, for warnings: it asks a `Watch` at the few moments that matter.

`crates/py/src/recording/watching.rs` and `blocking.rs` call its methods: a task is started at a new place, is
cancelled, waits although it was cancelled, has failed; the loop is blocked; Python has raised an audit event. The
answers go into the recording as warnings, which `crates/trace/src/warning` puts into words. Nothing here decides what
the program does, and whatever it wraps (asyncio's locks and queues, the hooks of asynchronous generators) is put back
when the recording ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
import warnings
import weakref
from asyncio import base_events, timeouts
from types import FrameType
from typing import Any

from .. import _core
from .blocking import BlockingCalls, blocks
from .cancellations import Cancellations
from .code import (
    LIBRARY,
    LOOP,
    awaits,
    code_of,
    drops_result,
    frame_of,
    is_program,
    loop_around,
    owner,
    place,
    place_of,
    program_frame,
)
from .codes import EXCEPTION_LOST, EXCEPTIONS_IGNORED, NEVER_AWAITED, NEVER_RETRIEVED
from .futures import closure, frame_that_awaits
from .generators import Generators
from .primitives import Primitives
from .threads import timed

_STARTS_A_TASK = {"create_task", "ensure_future", "_ensure_future", "BaseEventLoop.create_task"}


class Watch:
    """One for each recording; its methods are called by the core."""

    def __init__(self, *, origins: bool = False) -> None:
        """`origins`: have Python note where coroutines are made (it costs a little for each)."""
        self._primitives = Primitives()
        self._origins = origins
        self._old_depth: int | None = None
        self._thread = 0
        self._cancellations = Cancellations()
        self._generators = Generators()
        self._gathers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._calls = BlockingCalls()
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    # --- In and out -----------------------------------------------------------------------------------

    def begin(self) -> None:
        self._primitives.install()
        self._replace(warnings, "_warn_unawaited_coroutine", self._never_awaited)
        self._replace(base_events.BaseEventLoop, "call_exception_handler", self._reported)
        self._replace(base_events.BaseEventLoop, "_asyncgen_firstiter_hook", self._generators.begins)
        self._replace(base_events.BaseEventLoop, "_asyncgen_finalizer_hook", self._generators.dropped)
        self._replace(base_events.BaseEventLoop, "shutdown_asyncgens", self._generators.left)
        self._replace(asyncio.tasks, "_cancel_and_wait", self._cancellations.gives_up)
        self._replace(timeouts.Timeout, "__aexit__", self._cancellations.timeout_ends)
        self._replace_wait()
        self._replace_run_in_executor()
        if self._origins and sys.get_coroutine_origin_tracking_depth() == 0:
            self._old_depth, self._thread = 0, threading.get_ident()
            sys.set_coroutine_origin_tracking_depth(1)

    def end(self) -> None:
        """Before the recording ends: what is left is told."""
        self._primitives.end()
        self.forget()

    def forget(self) -> None:
        """Put back what was replaced, and tell nothing."""
        self._primitives.remove()
        for owner_, name, original, wrapper in self._replaced:
            if vars(owner_).get(name) is wrapper:
                setattr(owner_, name, original)
        self._replaced.clear()
        if self._old_depth is not None and self._thread == threading.get_ident():
            sys.set_coroutine_origin_tracking_depth(self._old_depth)
            self._old_depth = None

    def _replace(self, where: Any, name: str, told: Any) -> None:
        original = vars(where).get(name)
        if original is None:
            return

        def wrapper(*args: Any, **options: Any) -> Any:
            try:
                told(*args)
            except Exception:  # a mistake here is no reason for the program to fail
                print("segue: the watch for warnings failed:", file=sys.stderr)
                traceback.print_exc()
            return original(*args, **options)

        wrapper.__name__, wrapper.__qualname__ = original.__name__, original.__qualname__
        # As importlib's own frames, which `warnings` doesn't count: the program sees its own line in Python's warning.
        wrapper.__code__ = wrapper.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        setattr(where, name, wrapper)
        self._replaced.append((where, name, original, wrapper))

    def _replace_wait(self) -> None:
        """The part of `asyncio.wait` that waits, which is found by its name at each call."""
        original = asyncio.tasks._wait  # type: ignore[attr-defined]
        given_up = self._cancellations.given_up

        async def _wait(fs: Any, timeout: float | None, *args: Any) -> Any:
            done, pending = await original(fs, timeout, *args)
            if timeout is not None and pending:
                given_up.update(pending)
            return done, pending

        asyncio.tasks._wait = _wait  # type: ignore[attr-defined]
        self._replaced.append((asyncio.tasks, "_wait", original, _wait))

    def _replace_run_in_executor(self) -> None:
        original = base_events.BaseEventLoop.run_in_executor

        def run_in_executor(loop: Any, executor: Any, func: Any, *args: Any) -> Any:
            return original(loop, executor, timed(loop, executor, func), *args)

        run_in_executor.__qualname__ = original.__qualname__
        base_events.BaseEventLoop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]
        self._replaced.append((base_events.BaseEventLoop, "run_in_executor", original, run_in_executor))

    # --- Starts and yields ----------------------------------------------------------------------------

    def site(self) -> int:
        """A task is started at a place for the first time: 2 if nobody keeps it, 1 if it is by itself, 0 in groups."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not is_program(frame.f_code):
            if owner(frame.f_code.co_filename) is not LOOP or frame.f_code.co_qualname not in _STARTS_A_TASK:
                return 0
            frame = frame.f_back
        return 0 if frame is None else 1 + drops_result(frame)

    def yields(self, task: Any) -> str:
        """A task lets others run again and again: where it goes round, or "" if it comes to an end by itself.

        What does that between the items of a `for` does something with them, and not only look.
        """
        found = ""
        for one in reversed(list(awaits(task.get_coro()))):
            code, frame = code_of(one), frame_of(one)
            if code is None or frame is None or not is_program(code):
                continue
            kind = loop_around(code, frame.f_lasti)
            if kind:
                return place(frame) if kind == "while" else ""
            found = found or place(frame)
        return found

    # --- Cancellations and ends -----------------------------------------------------------------------

    def cancelled(self, task: Any, scope: int) -> int:
        """A task is about to be cancelled: facts about it. `scope`: a number of the cancel scope that does it, or 0."""
        return self._cancellations.asked(task, scope)

    def waits_cancelled(self, task: Any) -> None:
        """A task waits although it was asked to cancel."""
        self._cancellations.waits(task)

    def finished(self, task: Any, how: int, exc: BaseException | None, in_cancelled_scope: bool) -> None:
        """A task has ended with a result (0), an exception (1) or cancelled (2)."""
        if how == 1 and exc is not None:
            self._failed(task, exc)
        self._cancellations.finished(task, how, in_cancelled_scope)

    # --- Exceptions in gathers ------------------------------------------------------------------------

    def _failed(self, task: Any, exc: BaseException) -> None:
        callbacks = getattr(task, "_callbacks", None) or []
        if len(callbacks) != 1:
            return
        outer = closure(task, "gather.<locals>._done_callback", "outer")
        if outer is None:
            return
        returns = closure(task, "gather.<locals>._done_callback", "return_exceptions")
        if outer.done():
            if not outer.cancelled() and not returns:
                _core._tell_warning(EXCEPTION_LOST, _raised_at(exc), task, _words(exc), 0)
        elif returns and outer not in self._gathers:
            frame = frame_that_awaits(outer)
            if frame is not None and is_program(frame.f_code) and drops_result(frame):
                self._gathers.add(outer)
                _core._tell_warning(EXCEPTIONS_IGNORED, place(frame), task, _words(exc), 0)

    # --- Coroutines and generators --------------------------------------------------------------------

    def _never_awaited(self, coroutine: Any) -> None:
        frame = program_frame(sys._getframe(2))
        where = None if frame is None else place(frame)
        if coroutine.cr_origin:
            file, line, function = coroutine.cr_origin[0]
            if owner(file) is not LOOP:
                where = f"{file}:{line} {function}"
                frame = None
                if owner(file) is LIBRARY:
                    return
        if where is not None:
            text = f"The coroutine {coroutine.__qualname__}()"
            _core._tell_warning(NEVER_AWAITED, where, None, text, 0)

    def _reported(self, loop: Any, context: dict[str, Any]) -> None:
        """The loop reports something: what a task does is known otherwise, what a gather does is not."""
        future, exc = context.get("future"), context.get("exception")
        said = str(context.get("message"))
        if exc is None or isinstance(future, asyncio.Task) or not said.endswith("never retrieved"):
            return
        children = getattr(future, "_children", None) or ()
        failed = [child for child in children if child.done() and not child.cancelled() and child.exception() is exc]
        text = f"{_words(exc)}, which a {type(future).__name__.lstrip('_')} got,"
        _core._tell_warning(NEVER_RETRIEVED, _raised_at(exc), failed[0] if failed else None, text, 0)

    # --- What blocks ----------------------------------------------------------------------------------

    def blocks(self, thread: int, code: int, computes: bool) -> tuple[int, str, str]:
        """See `blocking.blocks`."""
        return blocks(thread, code, computes)

    def audited(self, event: str, args: tuple[Any, ...]) -> None:
        """See `blocking.BlockingCalls.audited`."""
        self._calls.audited(event, args)


def _raised_at(exc: BaseException) -> str:
    found = ""
    traceback = exc.__traceback__
    while traceback is not None:
        if not found or is_program(traceback.tb_frame.f_code):
            found = place_of(traceback.tb_frame.f_code, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _words(exc: BaseException) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
