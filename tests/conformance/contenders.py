"""Which event loop a conformance run is about, and how it is put in asyncio's place.

`install(name)` is called once, in a test process, before any test module is imported. It changes three
things, all of them public ways to name a loop: the class the default policy builds,
`asyncio.SelectorEventLoop` and (3.13+) `asyncio.EventLoop`. It never touches stdlib internals such as
`BaseSelectorEventLoop`: tests of those classes test the stdlib and are left alone.

`install_tasks()` puts Segue's Task and Future where CPython's tests look for the C ones
(`tasks._CTask`, `futures._CFuture`). asyncio itself does not read these names.
"""

from __future__ import annotations

import asyncio
import asyncio.futures
import asyncio.tasks
import asyncio.unix_events
from collections.abc import Callable
from typing import Any

NAMES = ("segue", "asyncio", "uvloop")


def loop_class(name: str) -> type[asyncio.AbstractEventLoop]:
    """The class whose instances are under test. Raises ImportError when the contender is not installed."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "segue":
        import segue

        return segue.EventLoop
    if name == "uvloop":
        import uvloop

        class UvloopIgnoringSelector(uvloop.Loop):
            """CPython's tests pass a selector, which uvloop does not take, and read the executor."""

            _default_executor = None

            def __init__(self, selector: object = None) -> None:
                super().__init__()

        return UvloopIgnoringSelector
    raise ValueError(f"unknown loop {name!r}: choose one of {', '.join(NAMES)}")


def install(name: str) -> Callable[[], int]:
    """Make `name` the loop asyncio hands out; return a counter of loops built so far.

    The counter lets a runner refuse a result in which the contender was never used.
    """
    loop = loop_class(name)
    built = 0

    def factory() -> asyncio.AbstractEventLoop:
        nonlocal built
        built += 1
        return loop()

    if name != "asyncio":
        for module in (asyncio, asyncio.unix_events):
            vars(module)["SelectorEventLoop"] = loop
            if hasattr(module, "EventLoop"):
                vars(module)["EventLoop"] = loop
    # 3.14 renamed the default policy; both spellings are what `asyncio.new_event_loop()` ends in.
    policies = vars(asyncio.unix_events)
    policy: Any = policies.get("_DefaultEventLoopPolicy") or policies["_UnixDefaultEventLoopPolicy"]
    policy._loop_factory = staticmethod(factory)
    return lambda: built


def install_tasks() -> None:
    """Let CPython's `C…` test classes bind `segue.Task` and `segue.Future`."""
    import segue

    vars(asyncio.tasks)["_CTask"] = segue.Task
    vars(asyncio.futures)["_CFuture"] = segue.Future


def install_as_uvloop() -> None:
    """Lead uvloop's factories to the installed contender, for suites that build their loop with them."""
    import uvloop

    vars(uvloop).update(
        new_event_loop=asyncio.new_event_loop,
        EventLoopPolicy=asyncio.DefaultEventLoopPolicy,
        Loop=asyncio.SelectorEventLoop,
        run=asyncio.run,
    )
