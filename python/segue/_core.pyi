"""The Rust core. `segue` shows what is public of it; the rest serves this package only."""

import asyncio
import sys
from asyncio.transports import _FlowControlMixin
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from socket import socket
from typing import Any, TypeVar, TypeVarTuple, Unpack, final

from typing_extensions import disjoint_base

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

__version__: str

__all__ = [
    "Future",
    "Handle",
    "Listener",
    "LoopCore",
    "Task",
    "TimerHandle",
    "TlsProtocol",
    "TlsTransport",
    "Transport",
    "__version__",
]

@disjoint_base
class Future(asyncio.Future[_T]):
    """A result that will be there later; `asyncio.Future` in Rust."""

@disjoint_base
class Task(asyncio.Task[_T]):
    """A coroutine that runs on a loop; `asyncio.Task` in Rust."""

@final
class Handle(asyncio.Handle): ...

@final
class TimerHandle(asyncio.TimerHandle): ...

@disjoint_base
class LoopCore:
    """What `segue.EventLoop` has of its own; comes before asyncio's loop in its bases."""

    slow_callback_duration: float
    _closed: bool
    _debug: bool
    _stopping: bool
    _task_factory: Callable[..., Any] | None
    _thread_id: int | None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> LoopCore: ...

    # Scheduling
    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts], context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts], context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_later(
        self, delay: float, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts], context: Context | None = None
    ) -> asyncio.TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts], context: Context | None = None
    ) -> asyncio.TimerHandle: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    if sys.version_info >= (3, 13):
        def create_task(
            self,
            coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
            *,
            name: object = None,
            context: Context | None = None,
            eager_start: bool | None = None,
        ) -> asyncio.Task[_T]: ...
    else:
        def create_task(
            self,
            coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
            *,
            name: object = None,
            context: Context | None = None,
        ) -> asyncio.Task[_T]: ...

    def time(self) -> float: ...

    # Running
    def get_debug(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def is_running(self) -> bool: ...
    def stop(self) -> None: ...
    def _run(self) -> None: ...
    def _check_process(self) -> None: ...
    def _close_core(self) -> None: ...

    # What asyncio's own code, inherited beside this class, calls
    def _add_callback(self, handle: asyncio.Handle) -> None: ...
    def _add_callback_signalsafe(self, handle: asyncio.Handle) -> None: ...
    def _add_reader(
        self, fd: Any, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts]
    ) -> asyncio.Handle: ...
    def _add_writer(
        self, fd: Any, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts]
    ) -> asyncio.Handle: ...
    def _remove_reader(self, fd: Any) -> bool: ...
    def _remove_writer(self, fd: Any) -> bool: ...
    def _watched(self, fd: Any) -> tuple[bool, bool]: ...
    def _owner_of(self, fd: Any) -> Transport | None: ...
    def _counts(self) -> tuple[int, int, int, int]: ...

@final
class Listener:
    """A listening socket; calls `on_connection` with each connection that it accepts."""

    def __new__(cls, loop_: Any, sock: socket, on_connection: Callable[[socket], object]) -> Listener: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...

@disjoint_base
class Transport(_FlowControlMixin, asyncio.Transport):
    """A byte stream over a connected socket or a pipe."""

    def __init__(
        self,
        loop: Any,
        sock: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = ...,
        extra: dict[str, Any] | None = ...,
        server: Any = ...,
        kind: str = ...,
        /,
    ) -> None: ...
    @property
    def _sock(self) -> socket: ...
    def _lend_descriptor(self) -> None: ...
    def _take_back_descriptor(self) -> None: ...
    def _make_empty_waiter(self) -> asyncio.Future[None]: ...
    def _reset_empty_waiter(self) -> None: ...

@final
class TlsProtocol(asyncio.Protocol):
    """The TLS connection between a transport and an application's protocol."""

    def __init__(
        self,
        loop: Any,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None,
        server_side: bool = ...,
        server_hostname: str | None = ...,
        call_connection_made: bool = ...,
        ssl_handshake_timeout: float | None = ...,
        ssl_shutdown_timeout: float | None = ...,
    ) -> None: ...
    @property
    def _app_transport(self) -> TlsTransport: ...
    @property
    def _is_direct(self) -> bool: ...

@final
class TlsTransport(_FlowControlMixin, asyncio.Transport):
    """What the application's protocol gets: a byte stream, encrypted on its way."""

    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_read_buffer_limits(self) -> tuple[int, int]: ...
    def get_read_buffer_size(self) -> int: ...
