"""Segue's structured concurrency under Trio's names: change `import trio` to `from segue import trio`.

The objects are those of `segue`; `run` is the one that differs, since it takes an async function, as Trio's
does. What a program sees differently is listed in docs/howto/from-trio.md. Loaded on first use, like `segue` itself.

https://trio.readthedocs.io/en/stable/reference.html
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._core import (
        CancelScope,
        CapacityLimiter,
        Event,
        Lock,
        MemoryReceiveChannel,
        MemorySendChannel,
        Semaphore,
        current_effective_deadline,
        current_time,
        sleep_forever,
    )
    from .._errors import (
        BrokenResourceError,
        BusyResourceError,
        ClosedResourceError,
        EndOfChannel,
        NeedHandshakeError,
        RunFinishedError,
        WouldBlock,
    )
    from .._errors import InternalError as TrioInternalError
    from .._files import open_file, wrap_file
    from .._nursery import TASK_STATUS_IGNORED, Nursery, TaskStatus, open_nursery
    from .._process import Process, run_process
    from .._safe_channel import as_safe_channel
    from .._scopes import (
        Cancelled,
        TooSlowError,
        fail_after,
        fail_at,
        move_on_after,
        move_on_at,
        sleep,
        sleep_until,
    )
    from .._signals import open_signal_receiver
    from .._socket_streams import SocketListener, SocketStream, open_unix_socket
    from .._statistics import (
        CapacityLimiterStatistics,
        ConditionStatistics,
        EventStatistics,
        LockStatistics,
        MemoryChannelStatistics,
    )
    from .._streams import StapledStream, aclose_forcefully, serve_listeners
    from .._sync import Condition, StrictFIFOLock, open_memory_channel
    from .._tcp import open_tcp_listeners, open_tcp_stream, serve_tcp
    from .._tls_streams import (
        SSLListener,
        SSLStream,
        open_ssl_over_tcp_listeners,
        open_ssl_over_tcp_stream,
        serve_ssl_over_tcp,
    )
    from . import abc, from_thread, lowlevel, socket, to_thread
    from . import testing as testing
    from ._run import TrioDeprecationWarning, run

__all__ = [
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancelled",
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "ClosedResourceError",
    "Condition",
    "ConditionStatistics",
    "EndOfChannel",
    "Event",
    "EventStatistics",
    "Lock",
    "LockStatistics",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "NeedHandshakeError",
    "Nursery",
    "Process",
    "RunFinishedError",
    "SSLListener",
    "SSLStream",
    "Semaphore",
    "SocketListener",
    "SocketStream",
    "StapledStream",
    "StrictFIFOLock",
    "TASK_STATUS_IGNORED",
    "TaskStatus",
    "TooSlowError",
    "TrioDeprecationWarning",
    "TrioInternalError",
    "WouldBlock",
    "abc",
    "aclose_forcefully",
    "as_safe_channel",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "from_thread",
    "lowlevel",
    "move_on_after",
    "move_on_at",
    "open_file",
    "open_memory_channel",
    "open_nursery",
    "open_signal_receiver",
    "open_ssl_over_tcp_listeners",
    "open_ssl_over_tcp_stream",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_unix_socket",
    "run",
    "run_process",
    "serve_listeners",
    "serve_ssl_over_tcp",
    "serve_tcp",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "socket",
    "to_thread",
    "wrap_file",
]

# Where a name is that `segue` doesn't have, or has under another name.
_WHERE = {
    "CapacityLimiterStatistics": "segue._statistics:CapacityLimiterStatistics",
    "ConditionStatistics": "segue._statistics:ConditionStatistics",
    "EventStatistics": "segue._statistics:EventStatistics",
    "LockStatistics": "segue._statistics:LockStatistics",
    "MemoryChannelStatistics": "segue._statistics:MemoryChannelStatistics",
    "NeedHandshakeError": "segue._errors:NeedHandshakeError",
    "RunFinishedError": "segue._errors:RunFinishedError",
    "TrioDeprecationWarning": "segue.trio._run:TrioDeprecationWarning",
    "TrioInternalError": "segue._errors:InternalError",
    "run": "segue.trio._run:run",
}

_MODULES = frozenset({"abc", "from_thread", "lowlevel", "socket", "testing", "to_thread"})


def _load(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"segue.trio.{name}")
    if name in _WHERE:
        where, _, attribute = _WHERE[name].partition(":")
    elif name in __all__ or name == "__version__":
        where, attribute = "segue", name
    else:
        raise AttributeError(f"module 'segue.trio' has no attribute {name!r}")
    value = getattr(importlib.import_module(where), attribute)
    globals()[name] = value
    return value


if not TYPE_CHECKING:
    __getattr__ = _load


def __dir__() -> list[str]:
    return [*__all__, "testing"]
