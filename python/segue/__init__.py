"""Async Python on one loop written in Rust.

`segue.run(main())` runs a coroutine as `asyncio.run` does, on Segue's event loop. Importing this package patches nothing.
"""

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
