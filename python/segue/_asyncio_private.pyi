"""What `_loop.py` uses of asyncio beyond its documented surface. For type checkers only: there is no such module.

Typeshed leaves these out; they are the methods that every supported version of `asyncio.SelectorEventLoop` has.
"""

import asyncio
from typing import Any

base_events: Any
unix_events: Any

class SelectorEventLoop(asyncio.SelectorEventLoop):
    _csock: Any
    _signal_handlers: dict[int, asyncio.Handle]

    def _ensure_fd_no_transport(self, fd: Any) -> None: ...
    def _check_closed(self) -> None: ...
    def _check_running(self) -> None: ...
    def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
    def _asyncgen_firstiter_hook(self, agen: Any) -> None: ...
    def _asyncgen_finalizer_hook(self, agen: Any) -> None: ...
    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, **kwargs: Any) -> Any: ...
    def _make_datagram_transport(
        self, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any: ...
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
    ) -> Any: ...
    async def _accept_connection2(self, *args: Any, **kwargs: Any) -> None: ...
    def _start_serving(self, *args: Any, **kwargs: Any) -> None: ...
    def _stop_serving(self, sock: Any) -> None: ...
