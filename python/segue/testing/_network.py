"""Connecting to a listener of the same test."""

from __future__ import annotations

import socket as _stdlib

from .._socket import socket
from .._socket_streams import SocketListener, SocketStream, close_on_error

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def open_stream_to_socket_listener(socket_listener: SocketListener) -> SocketStream:
    """Connect to a listener, wherever it listens: TCP on any address, or a Unix socket. A checkpoint.

    https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.open_stream_to_socket_listener
    """
    family = socket_listener.socket.family
    address = socket_listener.socket.getsockname()
    if family in (_stdlib.AF_INET, _stdlib.AF_INET6):
        host, *rest = address
        address = (_LOOPBACK.get(host, host), *rest)
    with close_on_error(socket(family)) as sock:
        await sock.connect(address)
        return SocketStream(sock)
