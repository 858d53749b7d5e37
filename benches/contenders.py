"""The contenders: a name, how to make its event loop, and the package that has to be installed for it.

`uvloop-0.22` is the release that the targets were set against (0.23 reads and writes far more cheaply); it
lives in a folder of its own, so that both can be measured in one run.

`segue+events` is Segue with a recording in memory (`segue.record()`); `segue`, beside it, has none, so the two tell
what recording costs; recording.py has more of that. It runs on the counted in-process rows only. blazio hangs under
valgrind as a server (io_uring), so it has no figure there.

`floor` is no loop but the C program floor.c: what the kernel alone takes for an echo, and so the most that any
loop on readiness I/O could reach.
"""

import asyncio
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from rows import SERVED, Method, Run

Factory = Callable[[], asyncio.AbstractEventLoop]


def _named(module: str) -> Callable[[], Factory]:
    return lambda: importlib.import_module(module).new_event_loop


def _aiofastnet() -> Factory:
    """aiofastnet is not a loop: it replaces a loop's network methods. uvloop is its faster base."""
    import aiofastnet
    import uvloop

    return aiofastnet.loop_factory(uvloop.new_event_loop)


def _recording() -> Factory:
    import segue

    segue.record().start()  # until the process ends
    return segue.new_event_loop


@dataclass(frozen=True)
class Contender:
    name: str
    package: str | None  # what has to be installed for it; None for the standard library
    factory: Callable[[], Factory]
    methods: frozenset[Method] = frozenset(Method)  # the kinds of row that it takes part in
    workloads: frozenset[str] | None = None  # those that it knows, if not all
    program: str | None = None  # a C file here that serves in place of worker.py
    pinned: str | None = None  # a requirement that run.py installs into a folder only this contender sees


CONTENDERS = {
    c.name: c
    for c in (
        Contender("asyncio", None, lambda: asyncio.SelectorEventLoop),
        Contender("uvloop", "uvloop", _named("uvloop")),
        Contender("uvloop-0.22", "uvloop", _named("uvloop"), pinned="uvloop==0.22.1"),
        Contender("rloop", "rloop", _named("rloop")),
        Contender("blazio", "blazio", _named("blazio"), frozenset(Method) - {Method.SERVER_INSTRUCTIONS}),
        Contender("aiofastnet", "aiofastnet", _aiofastnet, methods=SERVED),
        Contender(
            "floor",
            None,
            lambda: asyncio.SelectorEventLoop,
            frozenset({Method.THROUGHPUT}),
            frozenset({"protocol_echo", "streams_echo"}),
            program="floor.c",
        ),
        Contender("segue", "segue", _named("segue")),
        Contender("segue+events", "segue", _recording, methods=frozenset({Method.INSTRUCTIONS})),
    )
}


def takes_part(contender: Contender, run: Run) -> bool:
    if contender.program is not None and run.load != "tcp":
        return False
    return run.method in contender.methods and (contender.workloads is None or run.workload in contender.workloads)


def version(contender: Contender) -> str:
    """The installed version, or what is wrong: an absent package, or one that doesn't import."""
    if contender.program is not None:
        return f"benches/{contender.program}"
    if contender.package is None:
        return "standard library"
    try:
        found = importlib.metadata.version(contender.package)
    except importlib.metadata.PackageNotFoundError:
        found = "development build"
    try:
        contender.factory()
    except ModuleNotFoundError as error:
        return f"missing: {error}"
    except (ImportError, AttributeError) as error:
        return f"unusable: {error}"
    return found
