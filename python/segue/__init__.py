"""Async Python on one loop written in Rust.

`segue.run(main())` runs a coroutine as `asyncio.run` does, on Segue's event loop. Importing this package patches
nothing, and what it offers is loaded when it is first used, so that `segue run` starts quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import abc, from_thread, inspect, log, lowlevel, socket, testing, to_thread, trio
    from ._background import background
    from ._core import (
        Cancellation,
        CancelScope,
        CapacityLimiter,
        Event,
        Future,
        Lock,
        MemoryReceiveChannel,
        MemorySendChannel,
        Semaphore,
        Task,
        __version__,
        cancellation,
        checkpoint,
        current_effective_deadline,
        current_time,
        sleep_forever,
    )
    from ._errors import (
        BrokenResourceError,
        BusyResourceError,
        ClosedResourceError,
        EndOfChannel,
        NeedHandshakeError,
        RunFinishedError,
        WouldBlock,
    )
    from ._files import open_file, wrap_file
    from ._flight import flight
    from ._gathering import gather, map_unordered, race
    from ._loop import EventLoop, new_event_loop
    from ._nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
    from ._policy import EventLoopPolicy, install, uninstall
    from ._process import Process, run_process
    from ._recording import record
    from ._retry import retry
    from ._runners import Runner, run
    from ._safe_channel import as_safe_channel
    from ._scopes import (
        Cancelled,
        TooSlowError,
        fail_after,
        fail_at,
        move_on_after,
        move_on_at,
        sleep,
        sleep_until,
    )
    from ._signals import open_signal_receiver
    from ._socket_streams import SocketListener, SocketStream, open_unix_socket
    from ._streams import StapledStream, aclose_forcefully, serve_listeners
    from ._sync import Condition, StrictFIFOLock, open_memory_channel
    from ._tcp import open_tcp_listeners, open_tcp_stream, serve_tcp
    from ._tls_streams import (
        SSLListener,
        SSLStream,
        open_ssl_over_tcp_listeners,
        open_ssl_over_tcp_stream,
        serve_ssl_over_tcp,
    )

__all__ = [
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancellation",
    "Cancelled",
    "CapacityLimiter",
    "ClosedResourceError",
    "Condition",
    "EndOfChannel",
    "Event",
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Lock",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "NeedHandshakeError",
    "Nursery",
    "Process",
    "RunFinishedError",
    "Runner",
    "SSLListener",
    "SSLStream",
    "Semaphore",
    "SocketListener",
    "SocketStream",
    "StapledStream",
    "StrictFIFOLock",
    "TASK_STATUS_IGNORED",
    "Task",
    "TaskStatus",
    "TooSlowError",
    "WouldBlock",
    "__version__",
    "abc",
    "aclose_forcefully",
    "as_safe_channel",
    "background",
    "cancellation",
    "checkpoint",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "flight",
    "from_thread",
    "gather",
    "inspect",
    "install",
    "log",
    "lowlevel",
    "map_unordered",
    "move_on_after",
    "move_on_at",
    "new_event_loop",
    "open_file",
    "open_memory_channel",
    "open_nursery",
    "open_signal_receiver",
    "open_ssl_over_tcp_listeners",
    "open_ssl_over_tcp_stream",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_unix_socket",
    "race",
    "record",
    "retry",
    "run",
    "run_process",
    "serve_listeners",
    "serve_ssl_over_tcp",
    "serve_tcp",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "socket",
    "testing",
    "to_thread",
    "trio",
    "uninstall",
    "wrap_file",
]

_WHERE = {
    "BrokenResourceError": "_errors",
    "BusyResourceError": "_errors",
    "CancelScope": "_core",
    "Cancellation": "_core",
    "Cancelled": "_scopes",
    "CapacityLimiter": "_core",
    "ClosedResourceError": "_errors",
    "Condition": "_sync",
    "EndOfChannel": "_errors",
    "Event": "_core",
    "EventLoop": "_loop",
    "EventLoopPolicy": "_policy",
    "Future": "_core",
    "Lock": "_core",
    "MemoryReceiveChannel": "_core",
    "MemorySendChannel": "_core",
    "NeedHandshakeError": "_errors",
    "Nursery": "_nursery",
    "Process": "_process",
    "RunFinishedError": "_errors",
    "Runner": "_runners",
    "SSLListener": "_tls_streams",
    "SSLStream": "_tls_streams",
    "Semaphore": "_core",
    "SocketListener": "_socket_streams",
    "SocketStream": "_socket_streams",
    "StapledStream": "_streams",
    "StrictFIFOLock": "_sync",
    "TASK_STATUS_IGNORED": "_nursery",
    "Task": "_core",
    "TaskStatus": "_nursery",
    "TooSlowError": "_scopes",
    "WouldBlock": "_errors",
    "__version__": "_core",
    "aclose_forcefully": "_streams",
    "as_safe_channel": "_safe_channel",
    "background": "_background",
    "cancellation": "_core",
    "checkpoint": "_core",
    "current_effective_deadline": "_core",
    "current_time": "_core",
    "fail_after": "_scopes",
    "fail_at": "_scopes",
    "flight": "_flight",
    "gather": "_gathering",
    "install": "_policy",
    "map_unordered": "_gathering",
    "move_on_after": "_scopes",
    "move_on_at": "_scopes",
    "new_event_loop": "_loop",
    "open_file": "_files",
    "open_memory_channel": "_sync",
    "open_nursery": "_nursery",
    "open_signal_receiver": "_signals",
    "open_ssl_over_tcp_listeners": "_tls_streams",
    "open_ssl_over_tcp_stream": "_tls_streams",
    "open_tcp_listeners": "_tcp",
    "open_tcp_stream": "_tcp",
    "open_unix_socket": "_socket_streams",
    "race": "_gathering",
    "record": "_recording",
    "retry": "_retry",
    "run": "_runners",
    "run_process": "_process",
    "serve_listeners": "_streams",
    "serve_ssl_over_tcp": "_tls_streams",
    "serve_tcp": "_tcp",
    "sleep": "_scopes",
    "sleep_forever": "_core",
    "sleep_until": "_scopes",
    "uninstall": "_policy",
    "wrap_file": "_files",
}


_MODULES = frozenset({"abc", "from_thread", "inspect", "log", "lowlevel", "socket", "testing", "to_thread", "trio"})


def _load(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None and name in _MODULES:
        import importlib

        return importlib.import_module(f"segue.{name}")
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
