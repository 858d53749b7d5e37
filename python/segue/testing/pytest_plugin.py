"""The pytest plugin: tests and fixtures that are coroutines, each test on a Segue loop of its own.

A test and its asynchronous fixtures run in one task, so that they share context variables, and a fixture can open
scopes and nurseries around the test. pytest finds this module by the entry point `segue`; nothing else imports it, and
`segue.testing` needs no pytest.

In the mode "strict" only tests with the mark `segue` are touched, in "auto" all asynchronous tests that aren't marked
for another library.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

from .._core import CancelScope, cancellation
from .._loop import EventLoop
from .._nursery import Nursery, open_nursery
from .._runners import Runner
from .._waits import waits_of
from ._mock_clock import MockClock

OTHERS = ("anyio", "asyncio", "trio", "twisted")
"""Marks of plugins that run coroutines too."""
TURNS = 10
"""How many turns of the loop tasks are given to end by themselves behind a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "'auto': Segue runs all asynchronous tests; 'strict' (the default): those with the mark `segue`"
    parser.addini("segue_mode", about, default="strict")
    parser.getgroup("segue").addoption("--segue-mode", dest="segue_mode", choices=("auto", "strict"), help=about)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "segue: run the asynchronous test, and its asynchronous fixtures, on Segue.")
    if _mode(config) not in ("auto", "strict"):
        raise pytest.UsageError(f"segue_mode must be 'auto' or 'strict', not {_mode(config)!r}")


def _mode(config: pytest.Config) -> str:
    return str(config.getoption("segue_mode") or config.getini("segue_mode"))


def _test_function(item: pytest.Function) -> Any:
    """The function that was written, inside of hypothesis' wrapper if there is one."""
    wrapped = getattr(item.obj, "hypothesis", None)
    return item.obj if wrapped is None else wrapped.inner_test


def _is_ours(item: Any) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    if item.get_closest_marker("segue") is not None:
        return True
    if _mode(item.config) != "auto" or not inspect.iscoroutinefunction(_test_function(item)):
        return False
    return "anyio_backend" not in item.fixturenames and not any(item.get_closest_marker(mark) for mark in OTHERS)


# ---- the hooks -------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = _test_function(pyfuncitem)
    if not _is_ours(pyfuncitem) or not inspect.iscoroutinefunction(function):
        return None
    if function is not pyfuncitem.obj:

        @functools.wraps(function)
        def each_example(*args: Any, **kwargs: Any) -> None:
            _run_of(pyfuncitem).test(function(*args, **kwargs))

        pyfuncitem.obj.hypothesis.inner_test = each_example
        try:
            pyfuncitem.obj(**_arguments(pyfuncitem))
        finally:
            pyfuncitem.obj.hypothesis.inner_test = function
    else:
        _run_of(pyfuncitem).test(function(**_arguments(pyfuncitem)))
    return True


def _arguments(item: pytest.Function) -> dict[str, Any]:
    return {name: item.funcargs[name] for name in item._fixtureinfo.argnames}


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    function = fixturedef.func
    makes_one = inspect.iscoroutinefunction(function)
    if not (makes_one or inspect.isasyncgenfunction(function)) or not _is_ours(request._pyfuncitem):
        return (yield)
    if fixturedef.scope != "function":
        raise pytest.UsageError(
            f"the asynchronous fixture {fixturedef.argname!r} has the scope {fixturedef.scope!r}, but each test has a "
            "loop of its own: asynchronous fixtures must have the scope 'function'"
        )
    bound: Callable[..., Any] = function
    if inspect.ismethod(function) and type(function.__self__) is type(request.instance):
        bound = function.__func__.__get__(request.instance)  # the test's own instance of its class
    run = _run_of(request._pyfuncitem)

    def value(**arguments: Any) -> Any:
        return run.do(bound(**arguments))

    def value_and_end(**arguments: Any) -> Iterator[Any]:
        generator = bound(**arguments)
        yield run.begin(generator)
        run.end(generator)

    fixturedef.func = value if makes_one else value_and_end
    try:
        return (yield)
    finally:
        fixturedef.func = function


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:
        run = item.stash.get(_RUN, None)
        if run is not None:
            del item.stash[_RUN]
            run.close()


# ---- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mock_clock(request: pytest.FixtureRequest) -> MockClock:
    """The test's time stands still until the test calls `mock_clock.jump(seconds)`."""
    return _clock_of(request)


@pytest.fixture
def autojump_clock(request: pytest.FixtureRequest) -> MockClock:
    """The test's time jumps to the next deadline whenever all tasks wait: sleeping takes no time."""
    return _clock_of(request)


def _clock_of(request: pytest.FixtureRequest) -> MockClock:
    item = request._pyfuncitem
    if not _is_ours(item):
        raise pytest.UsageError(f"{request.fixturename} is for tests that Segue runs: mark the test with `segue`")
    clock = _run_of(item).clock
    if clock is None:
        raise pytest.UsageError(f"{request.fixturename} must be an argument of the test or of its fixtures")
    return clock


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    """A nursery around the test; what still runs in it at the end is cancelled. If one of its tasks fails, so does the
    test.
    """
    async with open_nursery() as opened:
        yield opened
        opened.cancel_scope.cancel("the test has ended")


# ---- a test's loop and task ------------------------------------------------------------------------------------------


class _TestLoop(EventLoop):
    """Knows where its tasks were created."""

    def __init__(self) -> None:
        self._created: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()
        super().__init__()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._created[task] = _caller()
        return task


class _ClockedTestLoop(_TestLoop):
    _clock: MockClock

    def time(self) -> float:
        return self._clock.current_time()


def _caller() -> str:
    """The line that creates a task: the innermost one outside of asyncio and this module."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "asyncio":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


class _Run:
    """One test's loop, and the task in which the test and its fixtures run one after the other."""

    def __init__(self, item: pytest.Function) -> None:
        self.clock: MockClock | None = None
        if "mock_clock" in item.fixturenames or "autojump_clock" in item.fixturenames:
            self.clock = MockClock(autojump_threshold=0 if "autojump_clock" in item.fixturenames else math.inf)
        self.runner = Runner(loop_factory=self.make_loop)
        self.loop: Any = self.runner.get_loop()
        self.generators: list[AsyncGenerator[Any, None]] = []
        """The fixtures around what runs now, outermost first."""
        self.has_fixtures = False
        self.job: asyncio.Future[Coroutine[Any, Any, Any] | None] = self.loop.create_future()
        self.job_done: asyncio.Future[None] = self.loop.create_future()
        self.value: Any = None
        self.raised: BaseException | None = None
        self.task = self.loop.create_task(self.work(), name=item.name)
        self.task.add_done_callback(self.broken)

    def make_loop(self) -> EventLoop:
        if self.clock is None:
            return _TestLoop()
        loop: Any = _ClockedTestLoop.__new__(_ClockedTestLoop)
        loop._clock = self.clock  # __init__ asks for the time
        loop.__init__()
        self.clock.start_clock()
        waits = waits_of(loop)
        waits.clock = self.clock
        waits.changed()
        return loop  # type: ignore[no-any-return]

    async def work(self) -> None:
        """Runs the jobs that it is given. In between no scope that a fixture has opened interrupts it."""
        while True:
            try:
                with CancelScope(shield=True):
                    job = await asyncio.shield(self.job)
            except asyncio.CancelledError:  # a request that came too late for the job before
                self.task.uncancel()
                continue
            if job is None:
                return
            self.job = self.loop.create_future()
            try:
                self.value = await job
            except BaseException as exc:
                self.raised = exc
            if not self.job_done.done():
                self.job_done.set_result(None)

    def broken(self, task: asyncio.Task[None]) -> None:
        if not self.job_done.done():
            self.job_done.set_exception(RuntimeError(f"the test's own task has ended: {task!r}"))

    def do(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the test's task; returns or raises what it does."""
        __tracebackhide__ = True
        if self.loop.is_running():
            job.close()
            raise RuntimeError("an asynchronous fixture can't be asked for while the test's loop is running")
        self.job_done = self.loop.create_future()
        self.job.set_result(job)
        self.loop.run_until_complete(self.job_done)
        value, raised, self.value, self.raised = self.value, self.raised, None, None
        try:
            if raised is not None:
                raise raised
            return value
        finally:
            del raised

    def test(self, coro: Coroutine[Any, Any, Any]) -> None:
        __tracebackhide__ = True
        self.do(self.in_fixtures(coro))
        if not self.has_fixtures:  # else some tasks may be theirs, and end with them
            self.check()

    async def in_fixtures(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Runs the test. If a fixture's scope cancels it, the fixture gets to know, and says what becomes of it."""
        __tracebackhide__ = True
        try:
            await coro
        except asyncio.CancelledError as cancelled:
            info = cancellation(cancelled)
            if info is None or not info.scoped:
                raise
            while self.generators:
                try:
                    await self.generators.pop().athrow(cancelled)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError as still:
                    if not self.generators or cancellation(still) is not info:
                        raise
            raise

    def begin(self, generator: AsyncGenerator[Any, None]) -> Any:
        self.has_fixtures = True
        value = self.do(_next_of(generator))
        self.generators.append(generator)
        return value

    def end(self, generator: AsyncGenerator[Any, None]) -> None:
        if generator not in self.generators:
            return  # it has seen the test's cancellation
        self.generators.remove(generator)
        try:
            self.do(_next_of(generator))
        except StopAsyncIteration:
            return
        raise RuntimeError(f"the fixture {_name(generator)} must yield once only")

    def leaked(self) -> list[str]:
        """Tasks that nobody owns. Those of nurseries and of `segue.background` are waited for."""
        owned = vars(self.loop).get("_background_tasks", {})
        created = self.loop._created
        return [
            f"{task.get_name()!r}, running {_name(task.get_coro())}, created at {created.get(task, 'an unknown place')}"
            for task in asyncio.all_tasks(self.loop)
            if task is not self.task and getattr(task, "parent_nursery", None) is None and task not in owned
        ]

    def check(self) -> None:
        """Fails the test if it has left tasks running."""
        __tracebackhide__ = True
        if self.leaked():
            self.do(_turns())
        if leaked := sorted(self.leaked()):
            for task in asyncio.all_tasks(self.loop) - {self.task}:
                task.cancel()
            pytest.fail("the test has left tasks running:\n  " + "\n  ".join(leaked), pytrace=False)

    def close(self) -> None:
        try:
            if not self.task.done():
                self.check()
        finally:
            self.task.remove_done_callback(self.broken)
            if not self.task.done():
                self.job.set_result(None)
                self.loop.run_until_complete(self.task)
            self.runner.close()


async def _next_of(generator: AsyncGenerator[Any, None]) -> Any:
    """`anext` as a coroutine, of what a task can run."""
    return await anext(generator)


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _name(coro: object) -> str:
    """The name of the function that a coroutine or generator runs."""
    return str(getattr(coro, "__qualname__", coro))


_RUN = pytest.StashKey[_Run]()


def _run_of(item: pytest.Function) -> _Run:
    run = item.stash.get(_RUN, None)
    if run is None:
        run = item.stash[_RUN] = _Run(item)
    return run
