"""The event loop as Python sees it: the Rust core under asyncio's own surface.

Whatever runs per callback, task or message is in Rust (`_core.LoopCore`, first in the method resolution order); what
runs once per connection or less often (opening, resolving, checking arguments) is inherited from the interpreter's own
`asyncio.SelectorEventLoop`, so that it has exactly this interpreter's semantics. This file joins the two.
"""

from __future__ import annotations

import _asyncio
import asyncio
import functools
import os
import selectors
import signal
import socket
import stat
import sys
import threading
import weakref
from asyncio import events, format_helpers
from asyncio.exceptions import SendfileNotAvailableError
from typing import TYPE_CHECKING, Any

from . import _core
from ._sockets import SocketMethods
from ._tls import TlsMethods
from ._token import _finish_token

if TYPE_CHECKING:
    from ._asyncio_private import SelectorEventLoop as _AsyncioLoop
    from ._asyncio_private import base_events, unix_events
else:
    from asyncio import SelectorEventLoop as _AsyncioLoop  # bound here: `segue run` lets the name lead to Segue
    from asyncio import base_events, unix_events


class _NoSelector:
    """Stands where asyncio keeps its selector; the descriptors are in the Rust core, which answers for it."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = weakref.ref(loop)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        loop = self._loop()
        reading, writing = loop._watched(fileobj) if loop is not None else (False, False)
        if not reading and not writing:
            raise KeyError(f"{fileobj!r} is not registered")
        mask = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return selectors.SelectorKey(fileobj, fd, mask, None)

    def close(self) -> None:
        pass


@functools.cache
def _can_use_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class EventLoop(_core.LoopCore, TlsMethods, SocketMethods, _AsyncioLoop):
    """A drop-in `asyncio` event loop written in Rust.

    Use it through `segue.run(main())`, `asyncio.run(main(), loop_factory=segue.new_event_loop)` or `segue run app.py`.
    Every method of `asyncio.AbstractEventLoop` behaves as the running interpreter's own loop; what differs is listed in
    docs/compatibility.md.
    """

    def __init__(self, selector: Any = None) -> None:
        """`selector` is accepted since `asyncio.SelectorEventLoop` takes one; it is closed, not used."""
        if selector is not None:
            selector.close()
        self._listeners: dict[int, _core.Listener] = {}
        self._set_wakeup_fd = False
        if not os.environ.keys().isdisjoint(("SEGUE_RECORD", "SEGUE_FLIGHT", "SEGUE_WARN")):
            from . import _record_wanted

            _record_wanted.begin()
        _AsyncioLoop.__init__(self, _NoSelector(self))  # type: ignore[arg-type]
        self._look_for_overrides()

    def run_forever(self) -> None:
        """Run until `stop()` is called.

        Raises RuntimeError if the loop is closed, is already running, another loop runs in this thread, or the loop was
        inherited through fork. KeyboardInterrupt and SystemExit leave the loop usable.
        """
        self._check_process()
        self._check_closed()
        self._check_running()
        self._set_coroutine_origin_tracking(self._debug)
        old_hooks = sys.get_asyncgen_hooks()
        self._wake_for_signals()
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            events._set_running_loop(self)
            if sys.version_info >= (3, 14):
                # Where the C task functions look, whatever somebody has put into `asyncio.events`.
                _asyncio._set_running_loop(self)
            self._run()
        finally:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            if sys.version_info >= (3, 14):
                _asyncio._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*old_hooks)
            self._stop_waking_for_signals()

    def _wake_for_signals(self) -> None:
        """A signal that arrives just before the loop waits must still wake it: let it write to the self-pipe.

        Only in the main thread, which alone runs handlers, and only if nobody else has set a descriptor
        (`add_signal_handler` sets this one).
        """
        if threading.current_thread() is not threading.main_thread():
            return
        ours = self._csock.fileno()
        try:
            before = signal.set_wakeup_fd(ours)
        except (ValueError, OSError):
            return
        if before not in (-1, ours):
            signal.set_wakeup_fd(before)
            return
        self._set_wakeup_fd = True

    def _stop_waking_for_signals(self) -> None:
        """Takes the descriptor back, unless `add_signal_handler` needs it between two runs or it is somebody else's."""
        if not self._set_wakeup_fd or self._signal_handlers:
            return
        if threading.current_thread() is not threading.main_thread():
            return
        self._set_wakeup_fd = False
        before = signal.set_wakeup_fd(-1)
        if before not in (-1, self._csock.fileno()):
            signal.set_wakeup_fd(before)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove a signal's handler; return True if there was one."""
        removed = super().remove_signal_handler(sig)
        if removed and self.is_running():
            # asyncio's takes the descriptor away together with the last handler.
            self._wake_for_signals()
        return removed

    def close(self) -> None:
        """Close the loop. Idempotent; raises RuntimeError while it runs. Scheduled callbacks are dropped."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        _finish_token(self)
        super().close()
        self._close_core()
        if (log := sys.modules.get("segue._log.handler")) is not None:
            log.flush_all()

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        transport = self._owner_of(fd)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None, **kwargs: Any
    ) -> Any:
        if not isinstance(sock.fileno(), int):
            # Something that only looks like a socket has no descriptor to wait for.
            return super()._make_socket_transport(sock, protocol, waiter, extra=extra, server=server, **kwargs)
        base_events._set_nodelay(sock)
        return _core.Transport(
            self, sock, protocol, waiter, extra, server, "socket", kwargs.get("context")
        )

    def _make_read_pipe_transport(self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        self._pipe_kind(pipe, "Pipe transport is for pipes/sockets only.")
        return _core.Transport(self, pipe, protocol, waiter, extra, None, "read")

    def _make_write_pipe_transport(self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        refusal = "Pipe transport is only for pipes, sockets and character devices"
        kind = "write device" if self._pipe_kind(pipe, refusal) == "device" else "write"
        return _core.Transport(self, pipe, protocol, waiter, extra, None, kind)

    if sys.version_info < (3, 12):

        async def _make_subprocess_transport(
            self,
            protocol: Any,
            args: Any,
            shell: bool,
            stdin: Any,
            stdout: Any,
            stderr: Any,
            bufsize: int,
            extra: Any = None,
            **kwargs: Any,
        ) -> Any:
            watcher = events.get_child_watcher()
            if type(watcher) is not unix_events.ThreadedChildWatcher or not _can_use_pidfd():
                return await super()._make_subprocess_transport(
                    protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
                )
            # As later versions do by default: a descriptor tells of the child's end, not a thread for each child.
            waiter = self.create_future()
            transport = unix_events._UnixSubprocessTransport(
                self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
            )
            pid = transport.get_pid()
            pidfd = os.pidfd_open(pid)
            self._add_reader(pidfd, self._child_exited, pid, pidfd, transport)
            try:
                await waiter
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
            return transport

        def _child_exited(self, pid: int, pidfd: int, transport: Any) -> None:
            self._remove_reader(pidfd)
            os.close(pidfd)
            try:
                _, status = os.waitpid(pid, 0)
            except ChildProcessError:
                # Somebody else has waited for it, so its status is lost; asyncio's watchers say 255 too.
                returncode = 255
                base_events.logger.warning(
                    "child process pid %d exit status already read: will report returncode 255", pid
                )
            else:
                returncode = os.waitstatus_to_exitcode(status)
            transport._process_exited(returncode)

    @staticmethod
    def _pipe_kind(pipe: Any, refusal: str) -> str:
        """What a pipe transport may be given, made non-blocking; ValueError(refusal) for anything else (a file)."""
        fd = pipe.fileno()
        mode = os.fstat(fd).st_mode
        if stat.S_ISCHR(mode):
            kind = "device"
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            kind = "pipe"
        else:
            raise ValueError(refusal)
        os.set_blocking(fd, False)
        return kind

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if not isinstance(sock, socket.socket):
            super()._start_serving(protocol_factory, sock, sslcontext, server, backlog, *args, **kwargs)
            return
        # From 3.15 on a server's connections run in copies of the context in which it was made.
        timeouts = args[:2]
        context = args[2] if len(args) > 2 else kwargs.pop("context", None)
        nodelay = sock.family in (socket.AF_INET, socket.AF_INET6)

        def connected(conn: socket.socket) -> None:
            own_context = None if context is None else context.copy()
            protocol = None
            try:
                if nodelay:
                    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if own_context is None:
                    protocol = protocol_factory()
                else:
                    protocol = own_context.run(protocol_factory)
                _core.Transport(self, conn, protocol, None, None, server, "socket", own_context)
            except (SystemExit, KeyboardInterrupt):
                conn.close()
                raise
            except BaseException as exc:
                conn.close()
                self._incoming_failed(exc, protocol)

        def connected_with_tls(conn: socket.socket) -> None:
            more = dict(kwargs)
            own_context = None if context is None else context.copy()
            if own_context is not None:
                more["context"] = own_context
            accepting = self._accept_connection2(
                protocol_factory, conn, self._peer(conn), sslcontext, server, *timeouts, **more
            )
            self.create_task(accepting, context=own_context)

        listener = _core.Listener(self, sock, connected if sslcontext is None else connected_with_tls)
        self._listeners[sock.fileno()] = listener
        listener.start()

    @staticmethod
    def _peer(conn: socket.socket) -> dict[str, Any]:
        try:
            return {"peername": conn.getpeername()}
        except OSError:
            return {}

    def _incoming_failed(self, exc: BaseException, protocol: Any) -> None:
        """As asyncio: shown in debug mode only, since a peer can cause it at will."""
        if self._debug:
            context: dict[str, Any] = {
                "message": "Error on transport creation for incoming connection",
                "exception": exc,
            }
            if protocol is not None:
                context["protocol"] = protocol
            self.call_exception_handler(context)

    def _stop_serving(self, sock: Any) -> None:
        listener = self._listeners.pop(sock.fileno(), None)
        if listener is not None:
            listener.stop()
        super()._stop_serving(sock)

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        if not isinstance(transp, _core.Transport):
            raise SendfileNotAvailableError(f"native sendfile is not possible over {transp!r}")
        resume_reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        transp._lend_descriptor()
        try:
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            transp._take_back_descriptor()
            if resume_reading:
                transp.resume_reading()

    def _callback_failed(self, handle: asyncio.Handle, exc: BaseException) -> None:
        """A callback raised `exc`: called by the core, reports as `asyncio.Handle` does."""
        callback, args = getattr(handle, "_callback", handle), getattr(handle, "_args", ())
        source = format_helpers._format_callback_source(callback, args)
        context: dict[str, Any] = {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "handle": handle,
        }
        source_traceback = getattr(handle, "_source_traceback", None)
        if source_traceback:
            context["source_traceback"] = source_traceback
        self.call_exception_handler(context)

    def _callback_was_slow(self, handle: asyncio.Handle, seconds: float) -> None:
        """Debug mode: a callback took longer than `slow_callback_duration`; called by the core."""
        what = base_events._format_handle(handle) if isinstance(handle, asyncio.Handle) else repr(handle)
        base_events.logger.warning("Executing %s took %.3f seconds", what, seconds)


def new_event_loop() -> EventLoop:
    """A new Segue event loop: `asyncio.run(main(), loop_factory=segue.new_event_loop)`."""
    return EventLoop()
