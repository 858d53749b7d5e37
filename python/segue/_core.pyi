"""The Rust core. `segue` shows what is public of it; the rest serves this package only."""

import asyncio
import sys
from asyncio.transports import _FlowControlMixin
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from socket import socket
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack, final

from typing_extensions import disjoint_base

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

__version__: str


@disjoint_base
class Future(asyncio.Future[_T]):
    """A result that will be there later; `asyncio.Future` in Rust."""

@disjoint_base
class Task(asyncio.Task[_T]):
    """A coroutine that runs on a loop; `asyncio.Task` in Rust."""

    def get_context(self) -> Context: ...  # typeshed has it from 3.12 on

    if sys.version_info < (3, 12):
        def get_context(self) -> Context: ...

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
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_later(
        self, delay: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
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
    def _run(self, signals_wake: bool) -> None: ...
    def _check_process(self) -> None: ...
    def _close_core(self) -> None: ...

    # What asyncio's own code, inherited beside this class, calls
    def _add_callback(self, handle: asyncio.Handle) -> None: ...
    def _add_callback_signalsafe(self, handle: asyncio.Handle) -> None: ...
    def _add_reader(
        self,
        fd: Any,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle: ...
    def _add_writer(
        self,
        fd: Any,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle: ...
    def _remove_reader(self, fd: Any) -> bool: ...
    def _remove_writer(self, fd: Any) -> bool: ...
    def _watched(self, fd: Any) -> tuple[bool, bool]: ...
    def _owner_of(self, fd: Any) -> Transport | DatagramTransport | None: ...
    def _counts(self) -> tuple[int, int, int, int]: ...

    # For segue._sockets
    def _sock_try_recv(self, sock: socket, n: int) -> Any: ...
    def _sock_try_recv_into(self, sock: socket, buf: Any) -> Any: ...
    def _sock_try_recvfrom(self, sock: socket, bufsize: int) -> Any: ...
    def _sock_try_recvfrom_into(self, sock: socket, buf: Any, nbytes: int) -> Any: ...
    def _sock_try_sendall(self, sock: socket, data: Any) -> Any: ...
    def _sock_try_sendto(self, sock: socket, data: Any, address: Any) -> Any: ...
    def _sock_try_accept(self, sock: socket) -> Any: ...
    def _sock_stop_waiting(self, sock: socket, future: asyncio.Future[Any]) -> None: ...

    # The event record
    def _start_recording(self, capacity: int = 1_000_000) -> TaskLog: ...
    def _stop_recording(self) -> None: ...
    def _recorded_events(self) -> tuple[int, int]: ...

def _take_unlisted_tasks() -> list[asyncio.Task[Any]]: ...
def _record_every_loop(limit: int = ...) -> TaskLog: ...

@final
class TaskLog:
    """The tasks of the loops attached to it."""

    def tasks(self) -> list[dict[str, Any]]: ...
    def left_out(self) -> list[dict[str, Any]]: ...
    def suspended(self, task: asyncio.Task[Any]) -> tuple[int, str]: ...

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
        context: Context | None = ...,
        /,
    ) -> None: ...
    @property
    def _sock(self) -> socket: ...
    def _lend_descriptor(self) -> None: ...
    def _take_back_descriptor(self) -> None: ...
    def _make_empty_waiter(self) -> asyncio.Future[None]: ...
    def _reset_empty_waiter(self) -> None: ...

@disjoint_base
class DatagramTransport(_FlowControlMixin, asyncio.DatagramTransport):
    """Datagrams over UDP and Unix sockets."""

    def __init__(
        self,
        loop: Any,
        sock: socket,
        protocol: asyncio.BaseProtocol,
        address: Any = ...,
        waiter: asyncio.Future[Any] | None = ...,
        extra: dict[str, Any] | None = ...,
        /,
    ) -> None: ...

@final
class TlsProtocol(asyncio.Protocol):
    """One TLS connection, over any `ssl.SSLContext`."""

    def __init__(
        self,
        loop: Any,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: SSLContext,
        waiter: asyncio.Future[Any] | None,
        server_side: bool = ...,
        server_hostname: str | None = ...,
        call_connection_made: bool = ...,
        ssl_handshake_timeout: float | None = ...,
        ssl_shutdown_timeout: float | None = ...,
    ) -> None: ...
    @property
    def _app_transport(self) -> SSLTransport: ...
    @property
    def _is_direct(self) -> bool: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...

@final
class SSLTransport(_FlowControlMixin, asyncio.Transport):
    """What the application sees of a TLS connection."""

    def get_read_buffer_limits(self) -> tuple[int, int]: ...
    def get_read_buffer_size(self) -> int: ...
    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

# ---- structured concurrency -------------------------------------------------

def current_time() -> float:
    """The time on the running loop's clock, in seconds: what deadlines are measured in."""

def current_effective_deadline() -> float:
    """When the current task will be cancelled by the scopes around it, in seconds on the loop's clock."""

def cancellation(exc: BaseException) -> Cancellation | None:
    """Why this CancelledError was thrown, or None if Segue didn't throw it."""

@final
class Cancellation:
    """Why something was cancelled."""

    @property
    def source(
        self,
    ) -> Literal["deadline", "scope.cancel", "nursery failure", "Task.cancel", "signal", "loop shutdown"]: ...
    @property
    def reason(self) -> Any: ...
    @property
    def task(self) -> asyncio.Task[Any] | None: ...
    @property
    def task_name(self) -> str | None: ...
    @property
    def filename(self) -> str | None: ...
    @property
    def lineno(self) -> int | None: ...
    @property
    def scoped(self) -> bool: ...

@final
class CancelScope:
    """A block whose work can be cancelled as a whole."""

    deadline: float
    relative_deadline: float
    shield: bool

    def __new__(
        cls, *, deadline: float = ..., relative_deadline: float = ..., shield: bool = False
    ) -> CancelScope: ...
    def __enter__(self) -> CancelScope: ...
    def __exit__(
        self, _type: type[BaseException] | None, exc: BaseException | None, _traceback: TracebackType | None, /
    ) -> bool: ...
    def cancel(self, reason: object = None) -> None: ...
    @property
    def cancel_called(self) -> bool: ...
    @property
    def cancelled_caught(self) -> bool: ...
    @property
    def cancellation(self) -> Cancellation | None: ...
    def _adopt(self, task: asyncio.Task[Any]) -> None: ...
    def _cancel_for_failure(self, exc: BaseException, task: asyncio.Task[Any]) -> None: ...
    def _close(self, exc: BaseException | None, handled: BaseException | None, /) -> bool: ...
    def _hold(self, holds: bool) -> None: ...
    def _is_effective(self) -> bool: ...
    def _move_contents(self, other: CancelScope) -> None: ...
