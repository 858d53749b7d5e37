"""The table of rows: what is run, what is counted, and the target that Segue has to meet on it.

Several rows may be views of one run (throughput and server CPU of the same echo): they share a `Run`, and
it is measured once. How a run is measured is in measure.py, what it executes in workloads.py.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    INSTRUCTIONS = "instructions"  # callgrind, in-process workload
    SERVER_INSTRUCTIONS = "server-instructions"  # callgrind on the server, load outside
    SERVER_SYSCALLS = "server-syscalls"  # strace on the server, load outside
    SERVER_FAULTS = "server-faults"  # getrusage of the server, load outside
    TIME = "time"  # wall and CPU time, in-process workload
    THROUGHPUT = "throughput"  # server on one core, load on another
    MEMORY = "memory"  # growth of resident memory, in-process workload


_SERVER_COUNTS = {Method.SERVER_INSTRUCTIONS, Method.SERVER_SYSCALLS, Method.SERVER_FAULTS}
COUNTED = frozenset({Method.INSTRUCTIONS, *_SERVER_COUNTS})
SERVED = frozenset({Method.THROUGHPUT, *_SERVER_COUNTS})


@dataclass(frozen=True)
class Run:
    method: Method
    workload: str
    n: int = 0  # operations; for counts the difference between n and 2n is taken; for servers messages in all
    warmup: int = 0
    load: str = "tcp"  # tcp, tls, udp or connect: what load.c does
    connections: int = 0
    size: int = 0  # bytes of a message
    heap: str | None = None  # fresh or grown; None leaves it to --heap


@dataclass(frozen=True)
class Target:
    """`segue OP bound`: as is, or times a peer's figure (one peer, or the best of summary.PEERS)."""

    op: str  # "<=" or ">="
    bound: float
    peer: str | None = None

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.op == "<=" else value >= self.bound


BEST = "best peer"
KIB = 1024
UVLOOP = "uvloop"


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    unit: str
    run: Run
    metric: str
    targets: tuple[Target, ...] = ()
    better: str = "less"
    since: tuple[int, int] = (3, 11)  # the first CPython that has what the workload uses


def _count(name: str, title: str, workload: str, n: int, bound: float | None, warmup: int = 200) -> Row:
    targets = (Target("<=", bound, UVLOOP),) if bound is not None else ()
    return Row(name, title, "instructions", Run(Method.INSTRUCTIONS, workload, n, warmup), "per_operation", targets)


def _served(
    name: str,
    title: str,
    workload: str,
    n: int,
    connections: int,
    bound: float | None,
    load: str = "tcp",
    size: int = KIB,
) -> Row:
    run = Run(Method.SERVER_INSTRUCTIONS, workload, n, load=load, connections=connections, size=size)
    targets = (Target("<=", bound, UVLOOP),) if bound is not None else ()
    return Row(name, title, "instructions", run, "per_operation", targets)


def _time(name: str, title: str, workload: str, n: int, bound: float | None = None, warmup: int = 2000) -> Row:
    targets: tuple[Target, ...] = (Target("<=", 1.0, "rloop"),)
    if bound is not None:
        targets = (Target("<=", bound), *targets)
    return Row(name, title, "µs", Run(Method.TIME, workload, n, warmup), "wall_us", targets)


def _echo(name: str, title: str, run: Run, bound: float | None, *more: Target) -> Row:
    targets = (*more, Target(">=", 1.0, "rloop"))
    if bound is not None:
        targets = (Target(">=", bound, UVLOOP), *targets)
    return Row(name, title, "per second", run, "per_second", targets, better="more")


def _load(workload: str, connections: int, size: int, load: str = "tcp") -> Run:
    return Run(Method.THROUGHPUT, workload, load=load, connections=connections, size=size)


PROTOCOL_100 = _load("protocol_echo", 100, KIB)

ROWS = (
    # -- user instructions -----------------------------------------------------------------------------------
    _count("ir-create-await", "create_task + await", "create_await", 4_000, 0.40),
    _count("ir-gather", "gather of 50,000, per coroutine", "gather", 50_000, 0.55),
    _count("ir-wakeup", "future set_result → wakeup", "future_wakeup", 8_000, 0.45),
    _count("ir-call-soon", "call_soon and the call, 1,000 to a turn", "call_soon", 20_000, 0.50),
    _count("ir-call-soon-turn", "call_soon, a turn, and the call", "call_soon_chain", 10_000, 0.50),
    _count("ir-sleep0", "sleep(0) switch", "sleep_zero", 10_000, 0.55),
    _count("ir-timer-fire", "call_later and the call", "timer_fire", 10_000, None),
    _count("ir-timer-cancel", "call_later and cancel", "timer_cancel", 10_000, None, 2_000),
    _served("ir-echo-1", "Protocol echo 1 KiB, 1 connection", "protocol_echo", 3_000, 1, 0.45),
    _served("ir-echo-100", "Protocol echo 1 KiB, 100 connections", "protocol_echo", 5_000, 100, 0.45),
    _served("ir-streams", "Streams echo 1 KiB, 10 connections", "streams_echo", 3_000, 10, None),
    _served("ir-streams-10k", "Streams echo 10 KiB, 10 connections", "streams_echo", 2_000, 10, None, size=10 * KIB),
    _served("ir-streams-100k", "Streams echo 100 KiB, 10 connections", "streams_echo", 1_000, 10, None, size=100 * KIB),
    _served("ir-echo-64k", "Protocol echo 64 KiB, 100 connections", "protocol_echo", 2_000, 100, None, size=64 * KIB),
    _served("ir-sock", "sock_recv/sock_sendall echo 1 KiB, 10 connections", "sock_echo", 3_000, 10, None),
    _served("ir-tls", "TLS Protocol echo 1 KiB, 10 connections", "protocol_echo", 3_000, 10, None, "tls"),
    _served("ir-udp", "UDP echo 1 KiB, 10 peers", "datagram_echo", 3_000, 10, None, "udp"),
    _served("ir-accept", "accept and close, 1 at a time", "accept_close", 500, 1, None, "connect"),
    # -- system calls and page faults ------------------------------------------------------------------------
    Row(
        "syscalls-100",
        "Protocol echo 1 KiB, 100 connections",
        "system calls",
        Run(Method.SERVER_SYSCALLS, "protocol_echo", 20_000, connections=100, size=KIB),
        "per_operation",
        (Target("<=", 2.1),),
    ),
    Row(
        "faults-64k",
        "Protocol echo 64 KiB, 100 connections, grown heap",
        "page faults",
        Run(Method.SERVER_FAULTS, "protocol_echo", 4_000, connections=100, size=64 * KIB, heap="grown"),
        "per_operation",
        (Target("<=", 0.05),),
    ),
    Row(
        "faults-64k-fresh",
        "Protocol echo 64 KiB, 100 connections, fresh heap",
        "page faults",
        Run(Method.SERVER_FAULTS, "protocol_echo", 4_000, connections=100, size=64 * KIB, heap="fresh"),
        "per_operation",
        (Target("<=", 0.05),),
    ),
    # -- throughput and server CPU ---------------------------------------------------------------------------
    _echo("echo-100x1k", "Protocol echo 100 × 1 KiB", PROTOCOL_100, 1.10),
    Row(
        "cpu-echo-100x1k",
        "server CPU per message, Protocol echo 100 × 1 KiB",
        "µs",
        PROTOCOL_100,
        "cpu_us",
        (Target("<=", 0.9, BEST),),
    ),
    _echo("echo-1000x1k", "Protocol echo 1000 × 1 KiB", _load("protocol_echo", 1000, KIB), 1.3),
    _echo("echo-100x64k", "Protocol echo 100 × 64 KiB", _load("protocol_echo", 100, 64 * KIB), 1.8),
    _echo("streams-1k", "Streams echo 10 × 1 KiB", _load("streams_echo", 10, KIB), 1.3),
    _echo("streams-10k", "Streams echo 10 × 10 KiB", _load("streams_echo", 10, 10 * KIB), 1.3),
    _echo("streams-100k", "Streams echo 10 × 100 KiB", _load("streams_echo", 10, 100 * KIB), 1.3),
    _echo(
        "tls-1k",
        "TLS Protocol echo 100 × 1 KiB",
        _load("protocol_echo", 100, KIB, "tls"),
        1.25,
        Target(">=", 1.0, "aiofastnet"),
    ),
    _echo("sock-1k", "sock_recv/sock_sendall echo 100 × 1 KiB", _load("sock_echo", 100, KIB), None),
    _echo("udp-1k", "UDP echo 20 × 1 KiB", _load("datagram_echo", 20, KIB, "udp"), None),
    _echo(
        "accept",
        "connections accepted and closed, 16 at a time",
        _load("accept_close", 16, 0, "connect"),
        None,
    ),
    # -- time ------------------------------------------------------------------------------------------------
    _time("call-soon", "call_soon and the call, 1,000 to a turn", "call_soon", 200_000),
    _time("call-soon-turn", "call_soon, a turn, and the call", "call_soon_chain", 100_000),
    _time("sleep0", "sleep(0) switch", "sleep_zero", 100_000),
    _time("timer-fire", "call_later and the call", "timer_fire", 50_000),
    _time("timer-cancel", "call_later and cancel", "timer_cancel", 100_000),
    dataclasses.replace(
        _time("gather-eager", "gather of 50,000 eager tasks, per coroutine", "gather_eager", 50_000, 2.0),
        since=(3, 12),
    ),
    _time("queue", "Queue round trip", "queue_round_trip", 20_000, 5.0),
    _time("event", "Event round trip", "event_round_trip", 20_000, 4.0),
    # -- memory ----------------------------------------------------------------------------------------------
    Row(
        "timer-memory",
        "memory growth over 10 million scheduled and cancelled timers",
        "MiB",
        Run(Method.MEMORY, "timer_cancel", 10_000_000, 100_000),
        "grown_mib",
        (Target("<=", 1.0),),
    ),
)
