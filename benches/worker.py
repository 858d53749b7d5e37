"""One measured process: runs one workload on one loop and prints JSON.

    worker.py LOOP run      WORKLOAD N WARMUP      N operations after WARMUP unmeasured ones
    worker.py LOOP serve    WORKLOAD CONNECTIONS   prints its address, serves until its standard input ends
    worker.py LOOP memory   WORKLOAD N WARMUP      growth of the resident memory over N operations
    worker.py --versions                           which contenders this interpreter has

The GC policy of every run is here, in `settle`. Pinning, instrumentation and load belong to the caller
(measure.py); the workloads are in workloads.py.
"""

import asyncio
import gc
import json
import os
import platform
import resource
import ssl
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

import contenders
import workloads


def settle() -> None:
    """The same starting point for everybody: the collector's policy and the state of the heap.

    GC: start-up garbage is collected, what survives is frozen, the default thresholds stay. A collection
    during the run then visits only what the workload and the loop allocate. Switching the collector off
    would flatter loops whose objects it tracks; leaving start-up objects in would charge everyone for
    imports.

    Heap: `grown` frees one 1 MiB block, after which glibc serves such blocks from the heap instead of
    mapping and unmapping pages for each. Any program that imports FastAPI, or handles one message over 256
    KiB, is in that state; a small script is not (`fresh`), and there a loop that reads into a new 256 KiB
    buffer pays for it.
    """
    if os.environ.get("BENCH_HEAP", "grown") == "grown":
        bytes(1 << 20)
    gc.collect()
    gc.freeze()


def usage_between(before: resource.struct_rusage, after: resource.struct_rusage) -> dict[str, float]:
    return {
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "minor_faults": after.ru_minflt - before.ru_minflt,
    }


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(workload: str, n: int, warmup: int) -> dict[str, float]:
    body = workloads.IN_PROCESS[workload]
    if warmup:
        await body(warmup)
    settle()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    await body(n)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"n": n, "seconds": seconds, **usage_between(before, after)}


async def memory(workload: str, n: int, warmup: int) -> dict[str, float]:
    body = workloads.IN_PROCESS[workload]
    await body(warmup)
    settle()
    before = resident_bytes()
    await body(n)
    return {"n": n, "grown_bytes": resident_bytes() - before}


def server_context() -> ssl.SSLContext | None:
    certificate = os.environ.get("BENCH_CERTIFICATE")
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def quiet_load_departure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The load leaves in the middle of a message when its time is over: that one error is expected."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)


async def serve(workload: str, connections: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(quiet_load_departure)
    over = loop.create_future()
    board = workloads.Board(connections)
    address = await workloads.SERVERS[workload](board, server_context())
    settle()
    before = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"address": address}), flush=True)

    def wait_for_end_of_input() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set_result, None)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    await over
    after = resource.getrusage(resource.RUSAGE_SELF)
    return usage_between(board.before or before, board.after or after)


def main(arguments: list[str]) -> None:
    if arguments == ["--versions"]:
        versions = {name: contenders.version(c) for name, c in contenders.CONTENDERS.items()}
        print(json.dumps({"python": platform.python_version(), "contenders": versions}))
        return
    name, kind, workload, *numbers = arguments
    body: Coroutine[Any, Any, dict[str, float]]
    match kind:
        case "run":
            body = run(workload, int(numbers[0]), int(numbers[1]))
        case "memory":
            body = memory(workload, int(numbers[0]), int(numbers[1]))
        case "serve":
            body = serve(workload, int(numbers[0]))
        case _:
            raise SystemExit(f"worker.py: unknown kind {kind!r}; it is run, memory or serve")
    # One line per process, written at once: neither loops nor buffers can tear it, and os._exit skips a
    # loop's own tear-down, which isn't what any row measures (some peers crash in it with connections
    # open).
    loop = contenders.CONTENDERS[name].factory()()
    asyncio.set_event_loop(loop)
    result = loop.run_until_complete(body)
    os.write(1, json.dumps(result).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
