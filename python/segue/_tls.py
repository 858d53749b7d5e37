"""The loop's methods that open TLS connections: argument checks and waiting; the connection is in Rust.

`create_connection`, `create_server` and their Unix twins reach `_make_ssl_transport` through asyncio.
"""

from __future__ import annotations

from asyncio import streams
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from ._asyncio_private import SelectorEventLoop as _Loop
    from ._asyncio_private import base_events
else:
    from asyncio import base_events

    _Loop = object


class TlsMethods(_Loop):
    """A base of `segue.EventLoop`."""

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        **kwargs: Any,
    ) -> _core.SSLTransport:
        self._ensure_fd_no_transport(rawsock)
        connection = _core.TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        transport = connection._app_transport
        # From 3.15 on a connection has a context of its own, which comes as a keyword.
        self._make_socket_transport(rawsock, connection, extra=extra, server=server, **kwargs)
        return transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> _core.SSLTransport:
        """Upgrade a connection to TLS and return the transport that `protocol` uses from now on.

        Any transport of this loop will do, TLS included. Raises what the handshake raised, and closes
        `transport` then, as it does when it is cancelled.
        """
        if base_events.ssl is None:
            raise RuntimeError("Python ssl module is not available")
        if not isinstance(sslcontext, base_events.ssl.SSLContext):
            expected = "sslcontext is expected to be an instance of ssl.SSLContext"
            raise TypeError(f"{expected}, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        connection = _core.TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        upgraded = connection._app_transport
        # Nothing may come before connection_made.
        transport.pause_reading()
        if server_side and isinstance(protocol, streams.StreamReaderProtocol):
            # A stream has read ahead: the client began its handshake before the server called start_tls.
            reader = getattr(protocol, "_stream_reader", None)
            if reader is not None and reader._buffer:
                connection._feed_early(reader._buffer)
                reader._buffer.clear()
        transport.set_protocol(connection)
        made = self.call_soon(connection.connection_made, transport)
        resumed = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            made.cancel()
            resumed.cancel()
            del waiter  # it holds the exception, whose traceback holds this frame and with it the transport
            raise
        return upgraded
