"""`trio.socket`: sockets with waiting methods. Constants are those of the standard library.

https://trio.readthedocs.io/en/stable/reference-io.html#low-level-networking-with-trio-socket
"""

from typing import Any

from .. import socket as _socket
from ..socket import *  # noqa: F403
from ..socket import __all__ as __all__


def __getattr__(name: str) -> Any:
    if name.isupper():
        return getattr(_socket, name)
    raise AttributeError(f"module 'segue.trio.socket' has no attribute {name!r}")
