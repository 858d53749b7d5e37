"""Every method of the loop with wrong arguments: refused as asyncio refuses them, with the same error and words.

Each case calls the method of a fresh loop of either kind and compares what comes of it: the type returned, or the
error's type and text, what the exception handler was told, and whether the loop works afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import os
import re
import socket
import ssl
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import segue


class NoNumber:
    def fileno(self):
        return "seven"


class Negative:
    def fileno(self):
        return -1


class Fraction:
    """`selectors` makes an int of it."""

    def fileno(self):
        return 100_000.5


class Angry:
    """Refuses everything that may be asked of an argument."""

    def fileno(self):
        raise ZeroDivisionError("no fileno today")

    def __bool__(self):
        raise ZeroDivisionError("neither true nor false")


def noop(*args):
    pass


async def coroutine_function():
    pass


def closed_socket():
    sock = socket.socket()
    sock.close()
    return sock


def nonblocking_socket():
    sock = socket.socket()
    sock.setblocking(False)
    return sock


def closed_file():
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.close()
    return file


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "object": object,
    "int type": lambda: int,
    "1.5": lambda: 1.5,
    "-1": lambda: -1,
    "a huge int": lambda: 10**30,
    "an unused fd": lambda: 100_000,
    "nan": lambda: float("nan"),
    "text": lambda: "text",
    "bytes": lambda: b"bytes",
    "list": list,
    "dict": dict,
    "function": lambda: noop,
    "coroutine": lambda: coroutine_function(),
    "coroutine function": lambda: coroutine_function,
    "closed socket": closed_socket,
    "blocking socket": socket.socket,
    "socket": nonblocking_socket,
    "closed file": closed_file,
    "file": tempfile.TemporaryFile,
    "SSL context": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "no number": NoNumber,
    "negative": Negative,
    "fraction": Fraction,
    "angry": Angry,
}

FEW = ("None", "object", "-1", "text", "function", "coroutine", "socket")

# Called with every value, every pair of a few, and these keywords with every value.
CALLED: dict[str, tuple[str, ...]] = {
    "run_until_complete": ("future", "bogus"),
    "call_soon": ("context", "callback", "bogus"),
    "call_soon_threadsafe": ("context", "bogus"),
    "call_later": ("context", "delay", "bogus"),
    "create_task": ("name", "context", "coro", "bogus"),
    "set_task_factory": ("factory", "bogus"),
    "run_in_executor": ("executor", "bogus"),
    "set_default_executor": ("executor", "bogus"),
    "add_reader": ("fd", "bogus"),
    "add_writer": ("fd", "bogus"),
    "remove_reader": ("fd", "bogus"),
    "remove_writer": ("fd", "bogus"),
    "add_signal_handler": ("sig", "bogus"),
    "remove_signal_handler": ("sig", "bogus"),
    "set_exception_handler": ("handler", "bogus"),
    "default_exception_handler": ("context", "bogus"),
    "call_exception_handler": ("context", "bogus"),
}

# Awaited with arguments that are refused before anything happens outside.
AWAITED: dict[str, list[tuple[tuple[str, ...], dict[str, str]]]] = {
    **{
        name: [((first,), {}) for first in VALUES]
        + [((first, second), {}) for first in (*FEW, "blocking socket", "closed socket") for second in FEW]
        for name in ("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall")
    },
    "sock_sendto": [(("socket", first, second), {}) for first in FEW for second in FEW],
    "sock_accept": [((first,), {}) for first in VALUES],
    "sock_connect": [((first, second), {}) for first in ("blocking socket", "None") for second in FEW],
    "sock_sendfile": [((first, second), {}) for first in FEW for second in (*FEW, "file", "closed file")],
    "sendfile": [((first, second), {}) for first in FEW for second in (*FEW, "file")],
    "start_tls": [(args, {}) for args in itertools.product(FEW, ("function",), (*FEW, "SSL context"))],
    "connect_read_pipe": [(("function", first), {}) for first in VALUES],
    "connect_write_pipe": [(("function", first), {}) for first in VALUES],
    "connect_accepted_socket": [(("function", first), {}) for first in VALUES if "socket" not in first]
    + [(("function", "socket"), {"ssl_handshake_timeout": value}) for value in FEW if value != "None"],
    "create_connection": [((), {}), (("function",), {})]
    + [(("function",), {"sock": value}) for value in VALUES if value != "blocking socket" and value != "socket"]
    + [(("function",), {"ssl": value}) for value in FEW]
    + [(("function", "text", "-1"), {"sock": "socket"}), (("function",), {"server_hostname": "text"})],
    "create_server": [((), {}), (("function",), {})]
    + [(("function",), {"sock": value}) for value in VALUES if "socket" not in value]
    + [(("function",), {"ssl": value}) for value in FEW]
    + [(("function", "text", "-1"), {"sock": "socket"}), (("function",), {"ssl_handshake_timeout": "1.5"})],
    "create_unix_connection": [(("function",), {}), (("function", "text"), {"sock": "socket"})]
    + [(("function",), {"sock": value}) for value in VALUES if value not in ("socket", "blocking socket")]
    + [(("function", "text"), {"server_hostname": "text"})],
    "create_unix_server": [(("function",), {}), (("function", "text"), {"sock": "socket"})]
    + [(("function",), {"sock": value}) for value in VALUES]
    + [(("function", "text"), {"ssl": value}) for value in ("text", "object")],
    "create_datagram_endpoint": [(("function",), {"sock": value}) for value in VALUES if value not in ("angry",)]
    + [(("function",), {"local_addr": value}) for value in FEW]
    + [(("function",), {"remote_addr": value}) for value in FEW],
    "getnameinfo": [((value,), {}) for value in FEW if value != "text"],
    "shutdown_default_executor": [((), {"bogus": "None"})],
    "subprocess_exec": [((), {}), (("function",), {}), (("function", "object"), {})]
    + [(("function", "text"), {key: "object"}) for key in ("universal_newlines", "shell", "text", "encoding")]
    + [(("function", "text"), {"bufsize": "-1"})],
    "subprocess_shell": [((), {}), (("function", "object"), {})]
    + [(("function", "text"), {key: "object"}) for key in ("universal_newlines", "text", "encoding")]
    + [(("function", "text"), {"bufsize": "-1"})],
}


def normal(text: str) -> str:
    """An error's text without what can't be the same: addresses, descriptors, the class a method is of."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"<(_UnixSelectorEventLoop|EventLoop)[^>]*>", "<loop>", text)
    text = re.sub(r"\b(?:\w+\.)*(\w+)\(\)", r"\1()", text)
    text = re.sub(r"(fd=|name=|owned by |by |got |callback )\d+", r"\1N", text)
    return text.replace("segue._core.", "").replace("_asyncio.", "").replace("asyncio.events.", "")


@contextlib.contextmanager
def values(args: tuple[str, ...], kwargs: dict[str, str]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    made = [VALUES[name]() for name in args]
    named = {key: VALUES[name]() for key, name in kwargs.items()}
    yield made, named
    for value in (*made, *named.values()):
        if hasattr(value, "close") and not isinstance(value, type):
            value.close()


def outcome(loop_class: Any, method: str, args: tuple[str, ...], kwargs: dict[str, str]) -> Any:
    loop = loop_class()
    reports: list[tuple[str, str]] = []

    def note(_: Any, context: dict[str, Any]) -> None:
        reports.append((normal(context["message"]), type(context.get("exception")).__name__))

    loop.set_exception_handler(note)
    with values(args, kwargs) as (given, named):
        try:
            result = getattr(loop, method)(*given, **named)
            if method in AWAITED:
                result = loop.run_until_complete(asyncio.wait_for(result, 20))
            came: tuple[str, ...] = ("returned", type(result).__name__)
            if isinstance(result, asyncio.Future):
                result.cancel()
        except Exception as error:
            came = ("raised", type(error).__name__, normal(str(error)))
        told = list(reports)
        # A reader or writer among the cases would go on for ever.
        for value in (*given, *named.values()):
            for remove in (loop.remove_reader, loop.remove_writer):
                with contextlib.suppress(Exception):
                    remove(value)
        loop.set_exception_handler(None)
        loop._default_executor = None
        loop.set_task_factory(None)
        assert loop.run_until_complete(asyncio.sleep(0, "works")) == "works"
        loop.close()
    return came, told


def calls_of(method: str) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    yield (), {}
    for value in VALUES:
        yield (value,), {}
    for length in (2, 3):
        for args in itertools.product(FEW, repeat=length):
            yield args, {}
    for key, value in itertools.product(CALLED[method], VALUES):
        for args in ((), ("function",), ("1.5", "function")):
            yield args, {key: value}


# asyncio's half-made pipe transports complain when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def quiet():
    """Coroutines that are refused are never awaited."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def differences(method: str, calls: Any) -> list[Any]:
    found = []
    for args, kwargs in calls:
        expected = outcome(asyncio.SelectorEventLoop, method, args, kwargs)
        got = outcome(segue.EventLoop, method, args, kwargs)
        if got != expected:
            found.append((args, kwargs, "asyncio", expected, "Segue", got))
    return found


@pytest.mark.parametrize("method", CALLED)
def test_a_method(method):
    assert differences(method, calls_of(method)) == []


@pytest.mark.parametrize("method", AWAITED)
def test_a_coroutine_method(method):
    assert differences(method, AWAITED[method]) == []


def test_call_at_with_numbers_and_none():
    # For what is no number see docs/compatibility.md.
    numbers = ("None", "1.5", "-1", "nan")
    calls = [((value, "function"), {}) for value in numbers] + [((), {}), (("1.5",), {})]
    assert differences("call_at", calls) == []


NO_ARGUMENTS = (
    "run_forever stop close is_running is_closed time create_future get_task_factory get_exception_handler get_debug"
).split()


@pytest.mark.parametrize("method", NO_ARGUMENTS)
@pytest.mark.parametrize("args, kwargs", [((1,), {}), ((1, 2), {}), ((), {"bogus": 1})])
def test_a_method_without_arguments(loop, method, args, kwargs):
    with pytest.raises(TypeError, match=method):
        getattr(loop, method)(*args, **kwargs)


def test_errors_of_the_system_have_their_number(loop):
    with pytest.raises(PermissionError) as refused, tempfile.TemporaryFile() as file:
        loop.add_reader(file, noop)
    assert refused.value.errno == 1
    assert refused.value.strerror == os.strerror(1)


def test_every_method_is_asked():
    """A method that a later asyncio adds shows up here."""
    public = {
        name
        for name, _ in inspect.getmembers(asyncio.AbstractEventLoop, inspect.isfunction)
        if not name.startswith("_")
    }
    rest = {"call_at", "set_debug", "shutdown_asyncgens", "getaddrinfo"}
    assert public <= {*CALLED, *AWAITED, *NO_ARGUMENTS, *rest}
