"""A program's own `time`, `call_soon` and `call_at`, in a subclass or set on one loop, reach the inside of the loop."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest


def one_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_a_mock_clock_steers_timers(loop):
    now = 100.0
    fired = []
    loop.time = lambda: now
    assert loop.call_later(5, fired.append, "later").when() == 105.0
    loop.call_at(104.0, fired.append, "at")
    one_turn(loop)
    assert fired == []
    now = 104.0
    one_turn(loop)
    assert fired == ["at"]
    now = 105.0
    one_turn(loop)
    assert fired == ["at", "later"]


def test_a_clock_that_jumps_while_the_loop_runs(loop):
    now = 0.0
    loop.time = lambda: now

    async def main():
        nonlocal now
        sleeping = asyncio.create_task(asyncio.sleep(3600, "slept"))
        while not sleeping.done():
            now += 600
            await asyncio.sleep(0)
        return sleeping.result(), now

    result, end = loop.run_until_complete(main())
    assert result == "slept"
    assert end >= 3600


def test_the_real_clock_is_back_once_the_patch_is_gone(loop):
    before = loop.time()
    with mock.patch.object(loop, "time", return_value=7.0):
        assert loop.call_later(1, print).when() == 8.0
    assert loop.call_later(1, print).when() >= before + 1
    loop.run_until_complete(asyncio.sleep(0.001))


def test_what_the_clock_raises_leaves_the_loop_before_a_callback_runs(loop):
    ran = []

    def broken():
        raise ZeroDivisionError("no time")

    loop.call_later(0, ran.append, "timer")
    loop.call_soon(ran.append, "soon")
    loop.time = broken
    with pytest.raises(ZeroDivisionError, match="no time"):
        loop.run_forever()
    assert ran == []
    del loop.time
    one_turn(loop)
    assert "soon" in ran


def calls_seen(loop_class):
    """How often a subclass's `call_soon` and `call_at` are called by a program that names neither."""

    class Counting(loop_class):
        def __init__(self):
            super().__init__()
            self.soon = self.at = 0

        def call_soon(self, callback, *args, context=None):
            self.soon += 1
            return super().call_soon(callback, *args, context=context)

        def call_at(self, when, callback, *args, context=None):
            self.at += 1
            return super().call_at(when, callback, *args, context=context)

    async def main():
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            await asyncio.sleep(0.001)
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))

    loop = Counting()
    try:
        loop.run_until_complete(main())
        return loop.soon, loop.at
    finally:
        loop.close()


def test_a_subclass_sees_what_asyncio_shows_it(loop_class):
    soon, at = calls_seen(loop_class)
    assert at == 3
    assert soon == calls_seen(asyncio.SelectorEventLoop)[0]


def test_a_subclass_with_its_own_clock(loop_class):
    class Fast(loop_class):
        def time(self):
            return super().time() * 1000

    loop = Fast()
    try:
        start = loop.time()
        loop.run_until_complete(asyncio.sleep(1))
        assert loop.time() >= start + 1
    finally:
        loop.close()
