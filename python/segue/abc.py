"""Abstract classes, with Trio's names.

https://trio.readthedocs.io/en/stable/reference-io.html#the-abstract-stream-api
"""

from ._clock import Clock
from ._instruments import Instrument
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
    "Clock",
    "HalfCloseableStream",
    "HostnameResolver",
    "Instrument",
    "Listener",
    "ReceiveChannel",
    "ReceiveStream",
    "SendChannel",
    "SendStream",
    "SocketFactory",
    "Stream",
]
