"""TCP: connecting to whichever address of a host answers first, listening on all addresses, serving.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#sockets-and-networking.
"""

from __future__ import annotations

import errno
import socket as _stdlib
from collections.abc import Awaitable, Callable, Iterator, MutableSequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from ._core import Event
from ._nursery import TASK_STATUS_IGNORED, open_nursery
from ._scopes import move_on_after
from ._socket import AddrInfo, SocketType, getaddrinfo, socket
from ._socket_streams import SocketListener, SocketStream, close_on_error
from ._streams import serve_listeners

# Seconds; what RFC 8305, section 5, recommends.
DEFAULT_DELAY = 0.25

# The kernel takes as much of it as it allows; beyond 16 bits some kernels count from zero again.
_LARGEST_BACKLOG = 0xFFFF


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = DEFAULT_DELAY,
    local_address: str | None = None,
) -> SocketStream:
    """Connect to a host, at whichever of its addresses answers first (RFC 8305, "happy eyeballs"). A checkpoint.

    The addresses are tried one by one, each `happy_eyeballs_delay` seconds after the one before or as soon as that has
    failed; the first connection wins, and the other attempts are cancelled. `local_address`: where to connect from.
    OSError if all attempts fail, with their errors in its `__cause__`. Cancel-safe: no socket is left open.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_tcp_stream
    """
    if host is None:
        raise ValueError("host must be str or bytes, not None")
    if not isinstance(port, int):
        raise TypeError(f"port must be int, not {port!r}")
    delay = DEFAULT_DELAY if happy_eyeballs_delay is None else happy_eyeballs_delay
    targets = await getaddrinfo(host, port, type=_stdlib.SOCK_STREAM)
    where = format_host_port(host, port)
    if not targets:
        raise OSError(f"no results found for hostname lookup: {where}")
    try_another_family_second(targets)

    errors: list[OSError] = []
    connected: list[SocketType] = []

    async def attempt(target: AddrInfo, failed: Event) -> None:
        family, kind, proto, _, address = target
        try:
            sock = socket(family, kind, proto)
            opened.add(sock)
            if local_address is not None:
                await _bind_host(sock, local_address, address)
            await sock.connect(address)
        except OSError as exc:
            errors.append(exc)
            failed.set()
        else:
            connected.append(sock)
            nursery.cancel_scope.cancel("another address has answered")

    with close_all() as opened:
        async with open_nursery() as nursery:
            for target in targets:
                failed = Event()
                nursery.start_soon(attempt, target, failed)
                with move_on_after(delay):
                    await failed.wait()
        if not connected:
            message = f"all attempts to connect to {where} failed"
            raise OSError(message) from ExceptionGroup(message, errors)
        stream = SocketStream(connected[0])
        opened.remove(connected[0])
        return stream


async def _bind_host(sock: SocketType, local_address: str, remote: Any) -> None:
    """Bind to an address but not yet to a port: `connect` finds one that is free for that destination."""
    with suppress(OSError, AttributeError):
        sock.setsockopt(_stdlib.IPPROTO_IP, _stdlib.IP_BIND_ADDRESS_NO_PORT, 1)  # type: ignore[attr-defined,unused-ignore]
    try:
        await sock.bind((local_address, 0))
    except OSError:
        raise OSError(
            f"local_address={local_address!r} is incompatible with remote address {remote!r}"
        ) from None


@contextmanager
def close_all() -> Iterator[set[SocketType]]:
    """A set of sockets; those that are in it at the end are closed."""
    opened: set[SocketType] = set()
    try:
        yield opened
    finally:
        failures: list[BaseException] = []
        for sock in opened:
            try:
                sock.close()
            except BaseException as exc:
                failures.append(exc)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup("sockets could not be closed", failures)


def try_another_family_second(targets: MutableSequence[AddrInfo]) -> None:
    """If one of IPv4 and IPv6 doesn't work, it should cost one delay only (RFC 8305, section 4)."""
    for index, target in enumerate(targets):
        if target[0] != targets[0][0]:
            targets.insert(1, targets.pop(index))
            return


def format_host_port(host: str | bytes, port: int | str) -> str:
    """As in a URL."""
    name = host.decode("ascii") if isinstance(host, bytes) else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


async def open_tcp_listeners(
    port: int, *, host: str | bytes | None = None, backlog: int | None = None
) -> list[SocketListener]:
    """Listen on a port (0: one that the system picks, for each address another) of all addresses of `host`.

    None: of all interfaces, IPv4 and IPv6. `backlog`: how many connections may wait to be accepted, by default as many
    as the system allows. A checkpoint. OSError if that fails for one of the addresses.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_tcp_listeners
    """
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    if backlog is None:
        backlog = _LARGEST_BACKLOG
    elif not isinstance(backlog, int):
        raise TypeError(f"backlog must be an int or None, not {backlog!r}")
    targets = await getaddrinfo(host, port, type=_stdlib.SOCK_STREAM, flags=_stdlib.AI_PASSIVE)

    listeners: list[SocketListener] = []
    unsupported: list[OSError] = []
    try:
        for family, kind, proto, _, address in targets:
            try:
                sock = socket(family, kind, proto)
            except OSError as exc:
                # Systems without IPv6, or without IPv4, may know such addresses all the same.
                if exc.errno != errno.EAFNOSUPPORT:
                    raise
                unsupported.append(exc)
                continue
            with close_on_error(sock):
                sock.setsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_REUSEADDR, 1)
                if family == _stdlib.AF_INET6:
                    sock.setsockopt(_stdlib.IPPROTO_IPV6, _stdlib.IPV6_V6ONLY, 1)
                await sock.bind(address)
                sock.listen(min(backlog, _LARGEST_BACKLOG))
                listeners.append(SocketListener(sock))
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if unsupported and not listeners:
        message = "This system doesn't support any of the kinds of socket that that address could use"
        raise OSError(errno.EAFNOSUPPORT, message) from ExceptionGroup(message, unsupported)
    return listeners


async def serve_tcp(
    handler: Callable[[SocketStream], Awaitable[object]],
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: Any = None,
    task_status: Any = TASK_STATUS_IGNORED,
) -> NoReturn:
    """`open_tcp_listeners`, then `serve_listeners`. `nursery.start(serve_tcp, ...)` returns the listeners.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.serve_tcp
    """
    listeners = await open_tcp_listeners(port, host=host, backlog=backlog)
    await serve_listeners(handler, listeners, handler_nursery=handler_nursery, task_status=task_status)
