"""Abstract classes, with Trio's names. https://trio.readthedocs.io/en/stable/reference-io.html#the-abstract-stream-api"""

from ._stream_abc import (
    AsyncResource,
    Channel,
    HalfCloseableStream,
    HostnameResolver,
    Listener,
    ReceiveChannel,
    ReceiveStream,
    SendChannel,
    SendStream,
    SocketFactory,
    Stream,
)

__all__ = [
    "AsyncResource",
    "Channel",
    "HalfCloseableStream",
    "HostnameResolver",
    "Listener",
    "ReceiveChannel",
    "ReceiveStream",
    "SendChannel",
    "SendStream",
    "SocketFactory",
    "Stream",
]
