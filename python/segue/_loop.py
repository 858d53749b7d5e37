"""The event loop as Python sees it: the Rust core under asyncio's own surface.

Whatever runs per callback, task or message is in Rust (`_core.LoopCore`, first in the method resolution order); what
runs once per connection or less often (opening, resolving, checking arguments) is inherited from the interpreter's own
`asyncio.SelectorEventLoop`, so that it has exactly this interpreter's semantics. This file joins the two.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from asyncio import base_events, events, format_helpers
from asyncio.exceptions import SendfileNotAvailableError
from asyncio.log import logger
from typing import Any

from . import _core


class _NoSelector:
    """Stands where asyncio keeps its selector; the descriptors are in the Rust core."""

    def close(self) -> None:
        pass


# Bound here: `segue run` lets the name in `asyncio` lead to Segue.
_AsyncioLoop = asyncio.SelectorEventLoop


class EventLoop(_core.LoopCore, _AsyncioLoop):
    """A drop-in `asyncio` event loop written in Rust.

    Use it through `segue.run(main())`, `asyncio.run(main(), loop_factory=segue.new_event_loop)` or `segue run app.py`.
    Every method of `asyncio.AbstractEventLoop` behaves as the running interpreter's own loop; what differs is listed in
    docs/compatibility.md.
    """

    def __init__(self, selector: Any = None) -> None:
        """`selector` is accepted since `asyncio.SelectorEventLoop` takes one; it is closed, not used."""
        if selector is not None:
            selector.close()
        _AsyncioLoop.__init__(self, _NoSelector())  # type: ignore[arg-type]

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
        wakes_for_signals = self._wake_for_signals()
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            events._set_running_loop(self)
            self._run()
        finally:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*old_hooks)
            if wakes_for_signals:
                signal.set_wakeup_fd(-1)

    def _wake_for_signals(self) -> bool:
        """A signal that arrives just before the loop waits must still wake it: let it write to the self-pipe.

        Only in the main thread, and only if nobody else has set a descriptor (`add_signal_handler` sets this one).
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        try:
            before = signal.set_wakeup_fd(self._csock.fileno())
        except (ValueError, OSError):
            return False
        if before != -1:
            signal.set_wakeup_fd(before)
            return False
        return True

    def close(self) -> None:
        """Close the loop. Idempotent; raises RuntimeError while it runs. Scheduled callbacks are dropped."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        super().close()
        self._close_core()

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        transport = self._owner_of(fd)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None, **_: Any
    ) -> _core.Transport:
        base_events._set_nodelay(sock)
        return _core.Transport(self, sock, protocol, waiter, extra, server)

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
        if getattr(handle, "_source_traceback", None):
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)

    def _callback_was_slow(self, handle: asyncio.Handle, seconds: float) -> None:
        """Debug mode: a callback took longer than `slow_callback_duration`; called by the core."""
        what = base_events._format_handle(handle) if isinstance(handle, asyncio.Handle) else repr(handle)
        logger.warning("Executing %s took %.3f seconds", what, seconds)


def new_event_loop() -> EventLoop:
    """A new Segue event loop: `asyncio.run(main(), loop_factory=segue.new_event_loop)`."""
    return EventLoop()
