"""Errors lose nothing and stop nothing else: whatever raises, wherever, the loop reports it and can be used afterwards.

KeyboardInterrupt and SystemExit leave the loop; the callbacks that had not run yet run when it goes on.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest


class Base(BaseException):
    """Neither an Exception nor an interrupt."""


ORDINARY = [ValueError, Base, asyncio.CancelledError, GeneratorExit]
INTERRUPTS = (KeyboardInterrupt, SystemExit)


def raiser(kind: type[BaseException]) -> Callable[..., Any]:
    def callback(*args: Any) -> None:
        raise kind("on purpose")

    return callback


@pytest.fixture
def reports(loop):
    """The contexts that reach the loop's exception handler."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


def still_works(loop):
    async def main():
        await asyncio.sleep(0)
        await asyncio.wait_for(loop.run_in_executor(None, int), 30)
        return "works"

    assert loop.run_until_complete(main()) == "works"


def one_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def kinds(reports):
    return [type(context.get("exception")) for context in reports]


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("way", ["soon", "threadsafe", "timer", "future", "reader"])
def test_a_callback_that_raises_is_reported_and_the_next_runs(loop, reports, kind, way):
    ran = []
    if way == "soon":
        loop.call_soon(raiser(kind))
        loop.call_soon(ran.append, 1)
    elif way == "threadsafe":
        loop.call_soon_threadsafe(raiser(kind))
        loop.call_soon_threadsafe(ran.append, 1)
    elif way == "timer":
        loop.call_later(0, raiser(kind))
        loop.call_later(0, ran.append, 1)
    elif way == "future":
        future = loop.create_future()
        future.add_done_callback(raiser(kind))
        future.add_done_callback(lambda _: ran.append(1))
        future.set_result(None)
    else:
        left, right = socket.socketpair()

        def readable():
            loop.remove_reader(left)
            loop.call_soon(ran.append, 1)
            raise kind("on purpose")

        loop.add_reader(left, readable)
        right.send(b"x")
    loop.run_until_complete(asyncio.sleep(0.01))
    if way == "reader":
        left.close()
        right.close()
    assert ran == [1]
    assert kinds(reports) == [kind]
    assert reports[0]["message"].startswith("Exception in callback")
    still_works(loop)


@pytest.mark.parametrize("kind", INTERRUPTS)
@pytest.mark.parametrize("way", ["soon", "timer", "future", "task", "reader", "signal"])
def test_an_interrupt_leaves_the_loop_and_loses_nothing(loop, reports, kind, way):
    ran = []
    left, right = socket.socketpair()
    if way == "soon":
        loop.call_soon(raiser(kind))
    elif way == "timer":
        loop.call_later(0, raiser(kind))
    elif way == "future":
        future = loop.create_future()
        future.add_done_callback(raiser(kind))
        future.set_result(None)
    elif way == "task":

        async def raising():
            raise kind("on purpose")

        task = loop.create_task(raising())
    elif way == "reader":

        def readable():
            loop.remove_reader(left)
            raise kind("on purpose")

        loop.add_reader(left, readable)
        right.send(b"x")
    else:
        loop.add_signal_handler(signal.SIGUSR1, raiser(kind))
        os.kill(os.getpid(), signal.SIGUSR1)
    if way in ("soon", "future", "task"):
        loop.call_soon(ran.append, 1)
    with pytest.raises(kind, match="on purpose"):
        loop.run_forever()
    assert not loop.is_running()
    one_turn(loop)
    assert ran == ([1] if way in ("soon", "future", "task") else [])
    if way == "task":
        assert type(task.exception()) is kind
    if way == "signal":
        loop.remove_signal_handler(signal.SIGUSR1)
    left.close()
    right.close()
    assert reports == []
    still_works(loop)


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_a_child_task_leaves_run_until_complete(loop, reports, kind):
    async def child():
        raise kind("on purpose")

    async def main():
        await asyncio.gather(child(), asyncio.sleep(0))

    task = loop.create_task(main())
    # From the child, and again from the task that awaited it.
    for _ in range(2):
        assert not task.done()
        with pytest.raises(kind, match="on purpose"):
            loop.run_until_complete(task)
    assert type(task.exception()) is kind
    assert reports == []
    still_works(loop)


@pytest.mark.parametrize("kind", [ValueError, Base])
def test_a_handler_that_raises_is_reported_by_asyncios_own(loop, caplog, kind):
    def handler(_, context):
        raise kind("handler")

    loop.set_exception_handler(handler)
    ran = []
    loop.call_soon(raiser(ValueError))
    loop.call_soon(ran.append, 1)
    one_turn(loop)
    assert ran == [1]
    assert "Unhandled error in exception handler" in caplog.text
    loop.set_exception_handler(None)
    still_works(loop)


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_the_handler_leaves_the_loop(loop, kind):
    loop.set_exception_handler(lambda *_: raiser(kind)())
    ran = []
    loop.call_soon(raiser(ValueError))
    loop.call_soon(ran.append, 1)
    with pytest.raises(kind, match="on purpose"):
        loop.run_forever()
    assert ran == []
    one_turn(loop)
    assert ran == [1]
    loop.set_exception_handler(None)
    still_works(loop)


class Noisy:
    """Raises when it is deleted."""

    def __del__(self):
        raise ValueError("in __del__")


def test_what_del_raises_goes_to_the_unraisable_hook(loop, reports, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: unraisable.append(str(info.exc_value)))
    ran = []
    loop.call_soon(ran.append, Noisy())
    loop.call_soon(lambda _: None, Noisy())
    loop.call_later(0, lambda _: None, Noisy())
    loop.call_later(1000, lambda _: None, Noisy()).cancel()

    async def holds(_):
        await asyncio.sleep(0)

    loop.run_until_complete(holds(Noisy()))
    loop.run_until_complete(asyncio.sleep(0.001))
    ran.clear()
    gc.collect()
    assert unraisable == ["in __del__"] * 5
    assert reports == []
    still_works(loop)


class Raising(asyncio.Protocol):
    """Raises `kind` in the method `where`; tells the future `lost`."""

    def __init__(self, where, kind, lost):
        self.where, self.kind, self.lost = where, kind, lost
        self.calls = []

    def called(self, where):
        self.calls.append(where)
        if where == self.where:
            raise self.kind("on purpose")

    def connection_made(self, transport):
        self.transport = transport
        self.called("connection_made")

    def data_received(self, data):
        self.called("data_received")

    def eof_received(self):
        self.called("eof_received")

    def connection_lost(self, exc):
        if not self.lost.done():
            self.lost.set_result(exc)
        self.called("connection_lost")


METHODS = ["connection_made", "data_received", "eof_received", "connection_lost"]


async def converse(loop, protocol, right):
    """One connection from its beginning to its end, in which every method of the protocol is called."""
    left = right.pop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=left)
    right[0].send(b"data")
    await asyncio.sleep(0.01)
    right[0].close()
    return await asyncio.wait_for(protocol.lost, 30)


def in_short(message):
    """A report's message without arguments and addresses, the transport's class by the name it has on Segue."""
    return message.split(" <")[0].split("(")[0].replace("_SelectorSocketTransport", "Transport")


def outcome_of(loop_class, where, kind):
    """What a protocol's error leads to: what is called, how the connection ends, what is reported, what is raised."""
    loop = loop_class()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    protocol = Raising(where, kind, loop.create_future())
    left, right = socket.socketpair()
    left.setblocking(False)
    try:
        end: Any = loop.run_until_complete(converse(loop, protocol, [right, left]))
    except BaseException as error:
        end = error
    right.close()
    later = []
    protocol.transport.abort()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(5):
        try:
            one_turn(loop)
        except INTERRUPTS as error:
            later.append(type(error))
    still_works(loop)
    loop.close()
    told = [(in_short(context["message"]), type(context.get("exception"))) for context in reports]
    return protocol.calls, type(end), str(end), told, later


@pytest.mark.parametrize("kind", [ValueError, OSError, Base, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", METHODS)
def test_a_protocols_error_leads_to_what_it_leads_to_on_asyncio(loop_class, where, kind):
    assert outcome_of(loop_class, where, kind) == outcome_of(asyncio.SelectorEventLoop, where, kind)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, Base])
def test_what_an_executors_function_raises_comes_to_who_awaits_it(loop, reports, kind):
    async def main():
        with pytest.raises(kind, match="on purpose"):
            await loop.run_in_executor(None, raiser(kind))
        return "went on"

    assert loop.run_until_complete(main()) == "went on"
    assert reports == []
    still_works(loop)


def test_what_nobody_retrieved_is_reported(loop, reports):
    async def failing():
        raise ValueError("on purpose")

    async def main():
        task = asyncio.create_task(failing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        future = loop.create_future()
        future.set_exception(ValueError("on purpose"))
        del future
        gc.collect()

    loop.run_until_complete(main())
    messages = [context["message"] for context in reports]
    assert messages == ["Task exception was never retrieved", "Future exception was never retrieved"]
    still_works(loop)
