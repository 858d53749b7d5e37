"""`segue.trio.run`: a run as Trio has it, on a Segue loop of its own.

Around the main task there are three nurseries, one in the other, so that things end in this order: the main
task and what it has started, then system tasks, then asynchronous generators that were left open, then the
calls of `run_sync_soon`.

https://trio.readthedocs.io/en/stable/reference-core.html#trio.run
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import warnings
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import Any, TypeVar

from .._clock import Clock
from .._errors import InternalError
from .._instruments import Instrument, instruments_of
from .._interrupts import currently_ki_protected, runs_for_somebody
from .._loop import EventLoop
from .._nursery import _not_async, open_nursery
from .._token import _finish_token
from .._waits import waits_of
from ._generators import Generators

T = TypeVar("T")


class TrioDeprecationWarning(FutureWarning):
    """Something that still works but shouldn't be used any more."""


def _warn_of_lone_exceptions() -> None:
    warnings.warn(
        "strict_exception_groups=False is deprecated; handle exception groups instead (`except*`)",
        TrioDeprecationWarning,
        stacklevel=3,
    )


class _ClockedLoop(EventLoop):
    """A loop whose time is a program's clock."""

    _clock: Clock

    def time(self) -> float:
        return self._clock.current_time()


def run(
    async_fn: Callable[..., Awaitable[T]],
    *args: Any,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
    restrict_keyboard_interrupt_to_checkpoints: bool = False,
    strict_exception_groups: bool = True,
) -> T:
    """Run `async_fn(*args)` on a new loop and return what it returns.

    `clock`: where timeouts take their time from, a `segue.testing.MockClock` for instance. `instruments`:
    who is told what the tasks do. `restrict_keyboard_interrupt_to_checkpoints`: Ctrl-C never interrupts
    running code, only a wait of the main task. `strict_exception_groups`: nurseries wrap a single exception
    in a group too; False is deprecated.

    Raises what the main task raised; RuntimeError if a loop runs in this thread already; TypeError if `async_fn` isn't
    async; TrioInternalError if a system task has failed. Ctrl-C raises KeyboardInterrupt in the main task.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("Attempted to call run() from inside a run()")
    if not strict_exception_groups:
        _warn_of_lone_exceptions()
    if clock is None:
        loop: Any = EventLoop()
    else:
        loop = _ClockedLoop.__new__(_ClockedLoop)
        loop._clock = clock
        loop.__init__()
    this = _Run(loop, async_fn, args, restrict_keyboard_interrupt_to_checkpoints, strict_exception_groups)
    return this.go(clock, instruments)  # type: ignore[no-any-return]


class _Run:
    """One call of `run`."""

    def __init__(
        self,
        loop: EventLoop,
        async_fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        only_at_checkpoints: bool,
        strict: bool,
    ) -> None:
        self.loop = loop
        self.async_fn = async_fn
        self.args = args
        self.only_at_checkpoints = only_at_checkpoints
        self.strict = strict
        self.main: asyncio.Task[Any] | None = None
        self.interrupted = False
        self.not_started: BaseException | None = None
        self.ended = False
        self.crashed: BaseException | None = None

    def go(self, clock: Clock | None, instruments: Sequence[Instrument]) -> Any:
        loop = self.loop
        attributes = vars(loop)
        attributes["_system_context"] = contextvars.copy_context()
        attributes["_strict_exception_groups"] = self.strict
        attributes["_crash"] = self.crash
        handler_before = self.take_sigint()
        try:
            for instrument in instruments:
                instruments_of(loop).add(instrument)
            if clock is not None:
                clock.start_clock()
                waits = waits_of(loop)
                waits.clock = clock
                waits.changed()
            attributes["_generators"] = Generators(loop)
            self.until_done()
            return self.outcome(attributes["_root_task"])
        finally:
            if handler_before is not None:
                signal.signal(signal.SIGINT, handler_before)
            # A task holds its loop, and the loop's attributes hold tasks.
            for name in (
                "_generators",
                "_asyncgen_firstiter_hook",
                "_asyncgen_finalizer_hook",
                "_root_task",
                "_system_nursery",
                "_late_nursery",
                "_token",
                "_crash",
            ):
                attributes.pop(name, None)
            loop.close()
            self.main = None

    def until_done(self) -> None:
        """Runs the loop. An interrupt that a task raised leaves it, but the task's parent has it already."""
        self.loop.call_soon(self.begin)
        while not self.ended:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                if "_root_task" not in vars(self.loop):
                    raise
        self.loop.run_until_complete(self.loop.shutdown_default_executor())

    def begin(self) -> None:
        instruments_of(self.loop).tell("before_run")
        root = vars(self.loop)["_root_task"] = self.loop.create_task(self.init(), name="<init>")
        root.add_done_callback(self.end)

    def end(self, _: asyncio.Task[None]) -> None:
        self.ended = True
        instruments_of(self.loop).tell("after_run")
        self.loop.stop()

    def crash(self, exc: BaseException) -> None:
        """Something is wrong that no task can be told: ends the run at once."""
        self.crashed = exc
        self.ended = True
        self.loop.stop()

    def outcome(self, root: asyncio.Task[None]) -> Any:
        """What `run` returns or raises."""
        main, self.main = self.main, None
        if self.crashed is not None:
            raise InternalError("an abort function has failed") from self.crashed
        try:
            root.result()
        except BaseException as exc:
            raise InternalError("internal error in Segue, or a system task failed") from exc
        try:
            if main is None:
                assert self.not_started is not None
                raise self.not_started
            return main.result()
        except asyncio.CancelledError:
            if self.interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            self.not_started = None
            del main, root

    async def init(self) -> None:
        """The root task."""
        loop = self.loop
        attributes = vars(loop)
        generators = attributes["_generators"]
        async with open_nursery() as late_nursery:
            async with open_nursery() as system_nursery:
                attributes["_system_nursery"] = system_nursery
                attributes["_late_nursery"] = late_nursery
                async with open_nursery() as main_nursery:
                    try:
                        coro = _coroutine(self.async_fn, self.args)
                    except BaseException as exc:
                        self.not_started = exc
                        return
                    # What the main task raises comes out of `run` as it is.
                    main_nursery._ignore_failures()
                    main_nursery._spawn(self.async_fn, coro, None)
                    (self.main,) = main_nursery.child_tasks
                    del coro
                system_nursery.cancel_scope.cancel(reason="the main task has ended")
            del attributes["_system_nursery"], system_nursery
            await generators.close_all()
            _finish_token(loop)

    # ---- Ctrl-C -----------------------------------------------------------------------------------------------------

    def take_sigint(self) -> Any:
        """Takes Ctrl-C over, if Python's own handler has it and this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return None
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler:
            return None
        signal.signal(signal.SIGINT, self.on_sigint)
        return before

    def on_sigint(self, _: int, frame: FrameType | None) -> None:
        """Raises in the program's code, if that runs; otherwise the main task is told when it waits."""
        running = not self.only_at_checkpoints and frame is not None and _is_programs_code(frame)
        if running and not currently_ki_protected():
            raise KeyboardInterrupt
        self.interrupted = True
        self.loop.call_soon_threadsafe(self.interrupt_main)

    def interrupt_main(self) -> None:
        if self.main is not None and not self.main.done():
            self.main.cancel()


def _is_programs_code(frame: FrameType) -> bool:
    """Whether a task's own code runs, with nothing of Segue's or asyncio's under way that an exception would break."""
    if runs_for_somebody(frame):
        return True
    at: FrameType | None = frame
    while at is not None:
        name = at.f_globals.get("__name__", "")
        if name == "segue._loop":
            return asyncio.current_task() is not None
        if name.partition(".")[0] in ("segue", "asyncio"):
            return False
        at = at.f_back
    return False


def _coroutine(async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    if asyncio.iscoroutine(async_fn) or not callable(async_fn):
        raise _not_async(async_fn, None)
    coro = async_fn(*args)
    if not asyncio.iscoroutine(coro):
        raise _not_async(async_fn, coro)
    return coro
