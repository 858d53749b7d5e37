"""Everything that a loop hands out is gone once it's closed: objects, descriptors, memory (Rust's too)."""

import asyncio
import gc
import itertools
from dataclasses import astuple

import pytest
from kinds import KINDS, Bench

SLOW = {"processes": 40, "tls_handshake_refused": 80, "streams_upgraded_by_start_tls": 60, "tls_aborted": 60}
"""Fewer rounds for what takes milliseconds each."""


def best_window(marks):
    """The least that any measure grew between two marks.

    A leak is in every window; what is only freed later (as asyncio does with cancelled timers) is not.
    """
    grown = [after.since(before) for before, after in itertools.pairwise(marks)]
    return type(marks[0])(*(min(window) for window in zip(*map(astuple, grown), strict=True)))


@pytest.mark.parametrize("name", KINDS)
def test_nothing_of_it_is_left(run, contexts, name, no_leaked_descriptors):
    """Objects: every transport, protocol, task, future and stream is collected."""

    async def main():
        bench = Bench(*contexts)
        for _ in range(3):
            await KINDS[name](bench)
        await asyncio.sleep(0.02)
        gc.collect()
        alive = [ref() for ref in bench.watched if ref() is not None]
        assert not alive, f"{alive}, held by {[gc.get_referrers(thing) for thing in alive[:1]]}"

    run(main)


@pytest.mark.parametrize("name", KINDS)
def test_memory_stays_flat(run, contexts, name, usage):
    """Bytes: rounds and rounds of it leave nothing allocated, what Rust allocates included."""

    async def main():
        rounds = SLOW.get(name, 200)
        bench = Bench(*contexts)
        loop = asyncio.get_running_loop()
        for _ in range(2000):  # a loop may keep handles for reuse; as many as it wants to, before counting
            loop.call_soon(int)
            loop.call_later(0, int)

        async def repeat(count):
            for _ in range(count):
                await KINDS[name](bench)
                bench.watched.clear()
            await asyncio.sleep(0.02)
            return usage.now()

        marks = [await repeat(max(40, rounds // 2))]
        marks += [await repeat(rounds) for _ in range(3)]
        best_window(marks).assert_flat(blocks=max(rounds, 200), malloc_bytes=max(rounds * 100, 16 * 1024))

    run(main)


def test_whole_loops(loop_factory, usage):
    """Loops that were closed with tasks and timers left in them leave nothing."""

    async def leaves_things_open():
        loop = asyncio.get_running_loop()
        loop.call_later(1000, print)
        await asyncio.to_thread(int)
        tasks = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(10)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    def rounds(count):
        for _ in range(count):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(leaves_things_open())

        return usage.now()

    marks = [rounds(50), rounds(100), rounds(100), rounds(100)]
    best_window(marks).assert_flat(blocks=100, malloc_bytes=16 * 1024)


def test_loops_nobody_closed_give_their_descriptors_back(loop_factory, usage, recwarn):
    before = usage.now()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        for _ in range(20):
            loop = loop_factory()
            loop.call_soon(int)
            loop.call_later(1000, int)
            del loop
        gc.collect()
    assert usage.now().descriptors == before.descriptors
