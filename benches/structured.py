"""`python benches/structured.py`: nurseries, scopes, channels and locks against Trio and anyio, in turns, medians.

    python benches/structured.py [--rounds 10] [--rows 'start*,lock'] [--contenders segue,trio] [--json FILE]
    python benches/structured.py worker CONTENDER ROW N      one measurement: prints seconds per operation

Each measurement is a fresh process with the collector's policy of worker.py (`settle`). anyio runs on uvloop.
`gather` compares `segue.gather` with `asyncio.gather` on uvloop; Trio has no such thing.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from measure import number_of_worker

ROWS: dict[str, tuple[int, str, float | None, str]] = {
    # name: operations, what one is, how many times faster than the peer Segue has to be, the peer
    "start_soon": (100_000, "start_soon of a task that does nothing, and its end", 10, "trio"),
    "checkpoint": (100_000, "checkpoint", 10, "trio"),
    "channel": (30_000, "ping-pong over two memory channels without a buffer", 8, "trio"),
    "scope": (100_000, "cancel scope entered and left", 12, "trio"),
    "limiter": (50_000, "CapacityLimiter acquired and released", 8, "trio"),
    "lock": (50_000, "Lock acquired and released", 8, "trio"),
    "lock-handover": (30_000, "Lock handed from one of two tasks to the other", 8, "trio"),
    "event": (30_000, "Event made, waited for and set", 8, "trio"),
    "cancel": (10_000, "task in a cancelled scope unwound", 10, "trio"),
    "gather": (50_000, "coroutine gathered", 2, "uvloop"),
}


async def nothing() -> None:
    pass


async def start_soon(lib: Any, n: int) -> float:
    begin = time.perf_counter()
    async with lib.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(nothing)
    return time.perf_counter() - begin


async def checkpoint(lib: Any, n: int) -> float:
    checkpoint = lib.checkpoint
    begin = time.perf_counter()
    for _ in range(n):
        await checkpoint()
    return time.perf_counter() - begin


async def channel(lib: Any, n: int) -> float:
    there, here = lib.open_channel()
    back, end = lib.open_channel()

    async def echo() -> None:
        async for value in here:
            await back.send(value)

    async with lib.open_nursery() as nursery:
        nursery.start_soon(echo)
        begin = time.perf_counter()
        for _ in range(n):
            await there.send(None)
            await end.receive()
        took = time.perf_counter() - begin
        await there.aclose()
    return took


async def scope(lib: Any, n: int) -> float:
    make = lib.CancelScope
    begin = time.perf_counter()
    for _ in range(n):
        with make():
            pass
    return time.perf_counter() - begin


async def _acquire(thing: Any, n: int) -> float:
    begin = time.perf_counter()
    for _ in range(n):
        async with thing:
            pass
    return time.perf_counter() - begin


async def limiter(lib: Any, n: int) -> float:
    return await _acquire(lib.CapacityLimiter(1), n)


async def lock(lib: Any, n: int) -> float:
    return await _acquire(lib.Lock(), n)


async def lock_handover(lib: Any, n: int) -> float:
    lock = lib.Lock()
    begin = time.perf_counter()
    async with lib.open_nursery() as nursery:
        nursery.start_soon(_acquire, lock, n // 2)
        nursery.start_soon(_acquire, lock, n // 2)
    return time.perf_counter() - begin


async def event(lib: Any, n: int) -> float:
    waiting: list[Any] = []

    async def setter() -> None:
        for _ in range(n):
            while not waiting:
                await lib.checkpoint()
            waiting.pop().set()

    async with lib.open_nursery() as nursery:
        nursery.start_soon(setter)
        begin = time.perf_counter()
        for _ in range(n):
            event = lib.Event()
            waiting.append(event)
            await event.wait()
        return time.perf_counter() - begin


async def cancel(lib: Any, n: int) -> float:
    async with lib.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(lib.sleep_forever)
        for _ in range(3):
            await lib.checkpoint()
        begin = time.perf_counter()
        nursery.cancel_scope.cancel()
    return time.perf_counter() - begin


async def gather(lib: Any, n: int) -> float:
    begin = time.perf_counter()
    await lib.gather(*(nothing() for _ in range(n)))
    return time.perf_counter() - begin


class Library:
    """The names that the workloads use, and how to run one."""

    def __init__(self, run: Callable[[Callable[[], Awaitable[float]]], float], **names: Any) -> None:
        self.run = run
        vars(self).update(names)


def _segue() -> Library:
    import segue

    return Library(
        lambda main: segue.run(main()),  # type: ignore[arg-type]
        open_channel=lambda: segue.open_memory_channel(0),
        open_nursery=segue.open_nursery,
        checkpoint=segue.checkpoint,
        CancelScope=segue.CancelScope,
        CapacityLimiter=segue.CapacityLimiter,
        Lock=segue.Lock,
        Event=segue.Event,
        sleep_forever=segue.sleep_forever,
        gather=segue.gather,
    )


def _trio() -> Library:
    import trio

    return Library(
        trio.run,
        open_nursery=trio.open_nursery,
        checkpoint=trio.lowlevel.checkpoint,
        open_channel=lambda: trio.open_memory_channel(0),
        CancelScope=trio.CancelScope,
        CapacityLimiter=trio.CapacityLimiter,
        Lock=trio.Lock,
        Event=trio.Event,
        sleep_forever=trio.sleep_forever,
    )


def _anyio() -> Library:
    import anyio
    import anyio.lowlevel

    return Library(
        lambda main: anyio.run(main, backend_options={"use_uvloop": True}),
        open_nursery=anyio.create_task_group,
        checkpoint=anyio.lowlevel.checkpoint,
        open_channel=lambda: anyio.create_memory_object_stream[None](0),
        CancelScope=anyio.CancelScope,
        CapacityLimiter=anyio.CapacityLimiter,
        Lock=anyio.Lock,
        Event=anyio.Event,
        sleep_forever=anyio.sleep_forever,
    )


def _uvloop() -> Library:
    import asyncio

    import uvloop

    return Library(lambda main: uvloop.run(main()), gather=asyncio.gather)  # type: ignore[arg-type]


CONTENDERS = {"segue": _segue, "trio": _trio, "anyio": _anyio, "uvloop": _uvloop}


def worker(contender: str, row: str, n: int) -> None:
    from worker import settle

    library = CONTENDERS[contender]()
    workload = globals()[row.replace("-", "_")]

    async def main() -> float:
        await workload(library, max(2, n // 100))
        settle()
        return await workload(library, n) / n  # type: ignore[no-any-return]

    print(library.run(main))


def measure(contender: str, row: str, n: int) -> float:
    return number_of_worker(__file__, contender, row, str(n))


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        return worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description="Segue's structured concurrency against Trio's and anyio's.")
    parser.add_argument("--rounds", type=int, default=10, help="rounds in which the contenders take turns (default 10)")
    parser.add_argument("--rows", default="*", help="names or patterns, separated by commas")
    parser.add_argument("--contenders", default="segue,trio,anyio,uvloop")
    parser.add_argument("--json", type=Path, help="also write every value as JSON")
    chosen = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for row, (n, what, bound, peer) in ROWS.items():
        if not any(fnmatch.fnmatch(row, pattern) for pattern in chosen.rows.split(",")):
            continue
        who = [c for c in chosen.contenders.split(",") if (c == "uvloop") <= (row == "gather")]
        who = [c for c in who if row != "gather" or c in ("segue", "uvloop")]
        values: dict[str, list[float]] = {c: [] for c in who}
        for index in range(chosen.rounds):
            shift = index % len(who)
            for contender in who[shift:] + who[:shift]:
                values[contender].append(measure(contender, row, n) * 1e6)
        found[row] = values
        print(f"\n{row}: {what} (µs)")
        for contender, times in values.items():
            ratio = statistics.median(t / own for t, own in zip(times, values["segue"], strict=True))
            spread = (max(times) - min(times)) / statistics.median(times) / 2
            print(f"    {contender:8} {statistics.median(times):9.3f}   ±{spread:4.0%}   {ratio:6.2f} × segue's")
        if bound is not None and peer in values:
            ratio = statistics.median(t / own for t, own in zip(values[peer], values["segue"], strict=True))
            print(f"    target ≥ {bound} × faster than {peer}: {ratio:.1f}  {'PASS' if ratio >= bound else 'FAIL'}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
