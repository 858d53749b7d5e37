"""Sockets with waiting methods, and the constants of the standard library's `socket`.

The names and semantics are Trio's:
https://trio.readthedocs.io/en/stable/reference-io.html#low-level-networking-with-trio-socket
"""

import socket as _stdlib
from socket import (
    gaierror,
    gethostname,
    herror,
    htonl,
    htons,
    if_indextoname,
    if_nameindex,
    if_nametoindex,
    inet_aton,
    inet_ntoa,
    inet_ntop,
    inet_pton,
    ntohl,
    ntohs,
)
from typing import Any

from ._socket import (
    SocketType,
    from_stdlib_socket,
    fromfd,
    getaddrinfo,
    getnameinfo,
    getprotobyname,
    set_custom_hostname_resolver,
    set_custom_socket_factory,
    socket,
    socketpair,
)


def __getattr__(name: str) -> Any:
    if name.isupper():
        return getattr(_stdlib, name)
    raise AttributeError(f"module 'segue.socket' has no attribute {name!r}")


__all__ = [
    "SocketType",
    "from_stdlib_socket",
    "fromfd",
    "gaierror",
    "getaddrinfo",
    "gethostname",
    "getnameinfo",
    "getprotobyname",
    "herror",
    "htonl",
    "htons",
    "if_indextoname",
    "if_nameindex",
    "if_nametoindex",
    "inet_aton",
    "inet_ntoa",
    "inet_ntop",
    "inet_pton",
    "ntohl",
    "ntohs",
    "set_custom_hostname_resolver",
    "set_custom_socket_factory",
    "socket",
    "socketpair",
]
