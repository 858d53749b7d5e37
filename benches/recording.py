"""`python benches/recording.py`: what recording costs: the same program with the recorder off and on, in turns.

    python benches/recording.py [--pairs 30] [--rows 'sleep*,fastapi'] [--modes file,debug] [--json FILE]
    python benches/recording.py --count             user instructions (callgrind) in place of CPU time
    python benches/recording.py worker ROW MODE N   one measurement: prints CPU seconds (user + system) per operation

Each measurement is a fresh process; CPU is that of the whole process, the recorder's thread included. The upper bound
is that of a 95 % interval of the median ratio (bootstrap over the pairs). Modes: `off`; `file` and `flight`
(segue.record); `debug` (asyncio's debug mode on asyncio's own loop, against asyncio's own loop), and beside it
`aiomonitor` and `viztracer` on asyncio's loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import compiled, number_of_worker

HERE = Path(__file__).resolve().parent
ROWS: dict[str, tuple[int, str, float]] = {
    # name: operations, what one is, the upper bound wanted of on / off
    "sleep0": (200_000, "sleep(0) switch", 1.12),
    "spawn": (60_000, "create_task and await it", 1.15),
    "echo": (60_000, "message of 1 KiB echoed by a Protocol, 100 connections", 1.05),
    "fastapi": (2_000, "request to a FastAPI route under uvicorn", 1.03),
}
MODES = ("file", "flight", "debug", "aiomonitor", "viztracer")
COUNTED = {"sleep0": 2_000, "spawn": 2_000, "echo": 1_000, "fastapi": 100}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def noop() -> None:
    pass


async def sleep0(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def spawn(n: int) -> None:
    for _ in range(n):
        await asyncio.create_task(noop())


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


async def _ends(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        await asyncio.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"the load failed: {process.communicate()}")


async def echo(n: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = min(100, n)
    load = [str(compiled("load.c", "-lssl", "-lcrypto")), "tcp", "127.0.0.1", str(port), str(connections), "1024"]
    await _ends(subprocess.Popen([*load, "count", str(n // connections)], stdout=subprocess.DEVNULL, preexec_fn=_last))
    server.close()


def _last() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


async def fastapi(n: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"number": number}

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    load = [sys.executable, __file__, "requests", str(port), str(n)]
    await _ends(subprocess.Popen(load, stdout=subprocess.DEVNULL, preexec_fn=_last))
    server.should_exit = True
    await serving


def requests(port: int, n: int) -> None:
    """Ten connections, one request after the other on each, by hand: the client must not be what is measured."""
    import socket

    request = b"GET /items/17 HTTP/1.1\r\nHost: x\r\n\r\n"
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
    for _ in range(max(1, n // 10)):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            answer = b""
            while not answer.endswith(b'{"number":17}'):
                answer += connection.recv(65536)


@contextlib.contextmanager
def recorded(mode: str) -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """How to make the loop, with whatever watches it switched on."""
    if mode in ("off", "file", "flight"):
        import segue

        with tempfile.NamedTemporaryFile(suffix=".segue") as file:
            recording = {"off": None, "file": segue.record(file.name), "flight": segue.record()}[mode]
            with recording or contextlib.nullcontext():
                yield segue.new_event_loop
        return
    if mode == "viztracer":
        from viztracer import VizTracer

        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            tracer = VizTracer(output_file=file.name, verbose=0, log_async=True)
            tracer.start()
            yield asyncio.SelectorEventLoop
            tracer.stop()
        return
    if mode == "debug":
        os.environ["PYTHONASYNCIODEBUG"] = "1"
    yield asyncio.SelectorEventLoop


def worker(row: str, mode: str, n: int) -> None:
    from worker import settle

    workload = globals()[row]

    async def main() -> float:
        loop = asyncio.get_running_loop()
        monitored: Any = contextlib.nullcontext()
        if mode == "aiomonitor":
            import aiomonitor

            monitored = aiomonitor.start_monitor(loop, hook_task_factory=True, port=0, console_enabled=False)
        with monitored:
            await workload(max(2, n // 50))
            settle()
            before = cpu()
            await workload(n)
            return before

    with recorded(mode) as factory, asyncio.Runner(loop_factory=factory) as runner:
        before = runner.run(main())
    # What the recorder's thread has left to write is part of the cost.
    print((cpu() - before) / n)


def measure(row: str, mode: str, n: int) -> float:
    return number_of_worker(__file__, row, mode, str(n))


def count(row: str, mode: str) -> float:
    """User instructions per operation: the difference between two runs."""
    n, found = COUNTED[row], []
    for operations in (n, 2 * n):
        out = tempfile.NamedTemporaryFile()
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", sys.executable, __file__]
        done = subprocess.run([*command, "worker", row, mode, str(operations)], capture_output=True, text=True)
        collected = [line for line in done.stderr.splitlines() if "Collected" in line]
        if done.returncode != 0 or not collected:
            raise SystemExit(f"recording.py: {mode} failed on {row} under callgrind:\n{done.stderr[-2000:]}")
        found.append(int(collected[-1].split()[-1]))
    return (found[1] - found[0]) / n


def upper_bound(ratios: list[float]) -> float:
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[int(len(medians) * 0.975)]


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        return worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    if sys.argv[1:2] == ["requests"]:
        return requests(int(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description="What Segue's recorder costs, and what others do.")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of runs for each row and mode (default 30)")
    parser.add_argument("--rows", default="*", help="names or patterns, separated by commas")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)} (default: all)")
    parser.add_argument("--count", action="store_true", help="count instructions instead of timing")
    parser.add_argument("--json", type=Path, help="also write every value as JSON")
    chosen = parser.parse_args()
    found: dict[str, Any] = {}
    for row, (n, what, bound) in ROWS.items():
        if not any(fnmatch.fnmatch(row, pattern) for pattern in chosen.rows.split(",")):
            continue
        print(f"\n{row}: {what}", flush=True)
        for mode in chosen.modes.split(","):
            base = "off" if mode in ("file", "flight") else "plain"
            if chosen.count:
                off, on = count(row, base), count(row, mode)
                found[f"{row}/{mode}"] = [off, on]
                print(f"    {mode:10} {off:10,.0f} {on:10,.0f} instructions   {on / off:.3f}", flush=True)
                continue
            pairs = []
            for index in range(chosen.pairs):
                order = (base, mode) if index % 2 else (mode, base)
                values = {which: measure(row, which, n) for which in order}
                pairs.append((values[base], values[mode]))
            ratios = [on / off for off, on in pairs]
            off, on = (statistics.median(side) * 1e6 for side in zip(*pairs, strict=True))
            highest = upper_bound(ratios)
            found[f"{row}/{mode}"] = pairs
            verdict = ("PASS" if highest <= bound else "FAIL") if base == "off" else ""
            print(
                f"    {mode:10} {off:8.3f} → {on:8.3f} µs   {statistics.median(ratios):6.3f}, 95 %: ≤ {highest:.3f}   "
                f"{f'wanted ≤ {bound} {verdict}' if verdict else ''}",
                flush=True,
            )
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
