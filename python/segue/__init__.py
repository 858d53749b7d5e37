"""Async Python on one loop written in Rust.

`segue.run(main())` runs a coroutine as `asyncio.run` does, on Segue's event loop. Importing this package patches
nothing, and what it offers is loaded when it is first used, so that `segue run` starts quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import (
        Cancellation,
        CancelScope,
        Future,
        Task,
        __version__,
        cancellation,
        current_effective_deadline,
        current_time,
    )
    from ._loop import EventLoop, new_event_loop
    from ._nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
    from ._policy import EventLoopPolicy, install, uninstall
    from ._runners import Runner, run
    from ._scopes import (
        Cancelled,
        TooSlowError,
        checkpoint,
        fail_after,
        fail_at,
        move_on_after,
        move_on_at,
        sleep,
        sleep_forever,
        sleep_until,
    )

__all__ = [
    "CancelScope",
    "Cancellation",
    "Cancelled",
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Nursery",
    "Runner",
    "TASK_STATUS_IGNORED",
    "Task",
    "TaskStatus",
    "TooSlowError",
    "__version__",
    "cancellation",
    "checkpoint",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "install",
    "move_on_after",
    "move_on_at",
    "new_event_loop",
    "open_nursery",
    "run",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "uninstall",
]

_WHERE = {
    "CancelScope": "_core",
    "Cancellation": "_core",
    "Cancelled": "_scopes",
    "EventLoop": "_loop",
    "EventLoopPolicy": "_policy",
    "Future": "_core",
    "Nursery": "_nursery",
    "Runner": "_runners",
    "TASK_STATUS_IGNORED": "_nursery",
    "Task": "_core",
    "TaskStatus": "_nursery",
    "TooSlowError": "_scopes",
    "__version__": "_core",
    "cancellation": "_core",
    "checkpoint": "_scopes",
    "current_effective_deadline": "_core",
    "current_time": "_core",
    "fail_after": "_scopes",
    "fail_at": "_scopes",
    "install": "_policy",
    "move_on_after": "_scopes",
    "move_on_at": "_scopes",
    "new_event_loop": "_loop",
    "open_nursery": "_nursery",
    "run": "_runners",
    "sleep": "_scopes",
    "sleep_forever": "_scopes",
    "sleep_until": "_scopes",
    "uninstall": "_policy",
}


def _load(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"segue.{module}"), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a checker that sees a module's __getattr__ takes any name for good
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted(__all__)
