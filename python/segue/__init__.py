"""Async Python on one loop written in Rust.

`segue.run(main())` runs a coroutine as `asyncio.run` does, on Segue's event loop. Importing this package patches nothing,
and what it offers is loaded when it is first used, so that `segue run` starts quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Future, Task, __version__
    from ._loop import EventLoop, new_event_loop
    from ._policy import EventLoopPolicy, install, uninstall
    from ._runners import Runner, run

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Runner",
    "Task",
    "__version__",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]

_WHERE = {
    "EventLoop": "_loop",
    "EventLoopPolicy": "_policy",
    "Future": "_core",
    "Runner": "_runners",
    "Task": "_core",
    "__version__": "_core",
    "install": "_policy",
    "new_event_loop": "_loop",
    "run": "_runners",
    "uninstall": "_policy",
}


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'segue' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"segue.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
