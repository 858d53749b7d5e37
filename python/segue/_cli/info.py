"""`segue info`: what this installation is, what the machine allows, and what to do where something is off.

It looks and reports; it changes nothing. Every value is read where it is in force (this process's limits,
/proc, a loop that is really opened), never assumed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
import sysconfig
from typing import Any, NamedTuple

USAGE = """\
usage: segue info [--json]

Prints version, interpreter, platform, I/O backend and limits, and what to do where something is off.
Exit status: 0, or 1 when Segue can't run here.
"""

ENOUGH_OPEN_FILES = 16_384
ENOUGH_BACKLOG = 1_024
ENOUGH_PORTS = 20_000


class Advice(NamedTuple):
    level: str
    """error: Segue can't run here; warning: you'll hit this under load; note: good to know."""
    about: str
    do: str


def main(argv: list[str]) -> int:
    if argv in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if argv not in ([], ["--json"]):
        unexpected = next(argument for argument in [*argv, argv[-1]] if argument != "--json" or len(argv) > 1)
        print(f"segue info: unexpected argument '{unexpected}'\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    facts = gather()
    advice = judge(facts)
    if argv:
        import json

        print(json.dumps({**facts, "advice": [item._asdict() for item in advice]}, indent=2))
    else:
        print(render(facts, advice))
    return 1 if any(item.level == "error" for item in advice) else 0


def version() -> str:
    try:
        return importlib.metadata.version("segue")
    except importlib.metadata.PackageNotFoundError:
        import segue

        return str(getattr(segue, "__version__", "unknown (not installed as a package)"))


# --- Facts ----------------------------------------------------------------------------------------


def gather() -> dict[str, dict[str, Any]]:
    return {
        "segue": {"version": version(), **_loop()},
        "interpreter": _interpreter(),
        "platform": _platform(),
        "limits": _limits(),
    }


def _loop() -> dict[str, Any]:
    """Open a loop and look at what it opened: the backend that is in use, not one that should be."""
    facts: dict[str, Any] = {"path": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    before = _descriptors()
    try:
        import segue

        loop = segue.new_event_loop()
    except Exception as error:
        return {**facts, "io_backend": None, "error": f"{type(error).__name__}: {error}"}
    try:
        opened = _descriptors() - before
    finally:
        loop.close()
    backends = {"eventpoll": "epoll", "io_uring": "io_uring"}
    found = [name for sign, name in backends.items() if any(sign in descriptor for descriptor in opened)]
    backend = " and ".join(found) or ("kqueue" if sys.platform == "darwin" else "unknown")
    return {**facts, "io_backend": backend, "child_exit": _child_exit(), "error": None}


def _descriptors() -> set[str]:
    directory = "/proc/self/fd"
    found = set()
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        try:
            found.add(name + " " + os.readlink(f"{directory}/{name}"))
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def _child_exit() -> str:
    """How the end of a child process is noticed here: some containers' seccomp profiles forbid pidfd_open."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return "thread per child"
    return "pidfd"


def _interpreter() -> dict[str, Any]:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "executable": sys.executable,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil_enabled": gil,
        "debug_build": hasattr(sys, "gettotalrefcount"),
        "dev_mode": sys.flags.dev_mode,
        "asyncio_debug": sys.flags.dev_mode
        or (not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))),
    }


def _platform() -> dict[str, Any]:
    uname = os.uname()
    return {
        "system": uname.sysname,
        "kernel": uname.release,
        "machine": uname.machine,
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_quota": _cpu_quota(),
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    }


def _cpu_quota() -> float | None:
    """CPUs that a cgroup (v2) allows, which a container can set below the number it shows."""
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _limits() -> dict[str, Any]:
    files_soft, files_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ports = (_read("/proc/sys/net/ipv4/ip_local_port_range") or "").split()
    return {
        "open_files_soft": _limit(files_soft),
        "open_files_hard": _limit(files_hard),
        "open_files_system": _number(_read("/proc/sys/fs/file-max")),
        "processes": _limit(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        "locked_memory_bytes": _limit(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]),
        "somaxconn": _number(_read("/proc/sys/net/core/somaxconn")),
        "ephemeral_ports": [int(port) for port in ports] or None,
    }


def _limit(value: int) -> int | None:
    return None if value == resource.RLIM_INFINITY else value


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


# --- Advice ---------------------------------------------------------------------------------------


def judge(facts: dict[str, dict[str, Any]]) -> list[Advice]:
    installation = _judge_installation(facts["segue"], facts["interpreter"])
    return installation + _judge_machine(facts["platform"], facts["limits"])


def _judge_installation(segue: dict[str, Any], python: dict[str, Any]) -> list[Advice]:
    advice = []
    if segue["error"]:
        do = f"reinstall it for this Python: {python['executable']} -m pip install --force-reinstall segue"
        advice.append(Advice("error", f"Segue's loop can't be opened: {segue['error']}", do))
    elif segue["child_exit"] != "pidfd":
        about = "pidfd_open isn't allowed here; the end of a child process is noticed by a thread that waits for it"
        advice.append(Advice("note", about, "nothing; a container's seccomp profile can allow pidfd_open"))
    if python["implementation"] != "CPython":
        about = f"Segue needs CPython, this is {python['implementation']}"
        advice.append(Advice("error", about, "use CPython 3.11 to 3.15"))
    if python["free_threaded"] and not python["gil_enabled"]:
        do = "nothing: importing Segue turns the GIL on for this process"
        advice.append(Advice("note", "this is a free-threaded build; Segue runs with the GIL", do))
    if python["debug_build"]:
        about = "this is a debug build of Python, several times slower"
        advice.append(Advice("warning", about, "use a release build"))
    if python["asyncio_debug"]:
        do = "unset PYTHONASYNCIODEBUG / PYTHONDEVMODE or leave out -X dev when you measure"
        about = "asyncio's debug mode is on: every task records where it was created"
        advice.append(Advice("note", about, do))
    return advice


def _judge_machine(machine: dict[str, Any], limits: dict[str, Any]) -> list[Advice]:
    advice = []
    if machine["system"] != "Linux":
        do = "expect what CI doesn't cover; reports are welcome"
        advice.append(Advice("warning", f"Segue is tested on Linux, this is {machine['system']}", do))
    soft, hard = limits["open_files_soft"], limits["open_files_hard"]
    if soft is not None and soft < ENOUGH_OPEN_FILES:
        if hard is None or hard >= ENOUGH_OPEN_FILES:
            do = f"ulimit -n {min(hard or 65_536, 65_536)}, in the shell that starts the program"
        else:
            do = "raise the hard limit: LimitNOFILE=65536 (systemd), --ulimit nofile=65536 (docker)"
        advice.append(Advice("warning", f"open files: {soft:,} at most; each connection takes one", do))
    backlog = limits["somaxconn"]
    if backlog is not None and backlog < ENOUGH_BACKLOG:
        about = f"listen backlog: the kernel cuts it to {backlog}; connections beyond that are dropped"
        advice.append(Advice("warning", about, "sysctl -w net.core.somaxconn=4096"))
    ports = limits["ephemeral_ports"]
    if ports and ports[1] - ports[0] < ENOUGH_PORTS:
        about = f"ephemeral ports: {ports[1] - ports[0]:,}; so many connections to one address at a time"
        advice.append(Advice("warning", about, 'sysctl -w net.ipv4.ip_local_port_range="10240 65535"'))
    if machine["cpu_quota"] is not None and machine["cpu_quota"] < 1:
        about = f"this container may use {machine['cpu_quota']:g} of a CPU and is paused when that is used up"
        advice.append(
            Advice("warning", about, "give it one CPU or more (docker --cpus, Kubernetes limits.cpu)")
        )
    if machine["clock_source"] in ("hpet", "acpi_pm"):
        about = f"clock source {machine['clock_source']}: reading the time is a slow system call"
        advice.append(Advice("warning", about, "select tsc or the hypervisor's clock"))
    return advice


# --- For people -----------------------------------------------------------------------------------


def render(facts: dict[str, dict[str, Any]], advice: list[Advice]) -> str:
    segue, python, machine, limits = (facts[part] for part in ("segue", "interpreter", "platform", "limits"))
    threads = "free-threaded" if python["free_threaded"] else "with the GIL"
    quota = "" if machine["cpu_quota"] is None else f", of which {machine['cpu_quota']:g} may be used"
    ports = limits["ephemeral_ports"]
    rows = [
        ("segue", segue["version"]),
        ("installed in", segue["path"]),
        ("I/O backend", segue["io_backend"] or "none: see below"),
        ("child processes", segue.get("child_exit", "unknown")),
        ("python", f"{python['implementation']} {python['version']} ({python['build']}; {threads})"),
        ("executable", python["executable"]),
        ("platform", f"{machine['system']} {machine['kernel']} {machine['machine']}, {machine['libc']}"),
        ("cpus", f"{machine['cpus']}{quota}"),
        ("open files", f"{_said(limits['open_files_soft'])} (hard limit {_said(limits['open_files_hard'])})"),
        ("listen backlog", f"somaxconn {_said(limits['somaxconn'])}"),
        ("ephemeral ports", f"{ports[0]}-{ports[1]}" if ports else "unknown"),
        ("locked memory", f"{_said(limits['locked_memory_bytes'])} bytes"),
    ]
    lines = [f"{name:<16} {value}" for name, value in rows]
    if not advice:
        return "\n".join([*lines, "", "Nothing is off."])
    for item in advice:
        lines += ["", f"{item.level}: {item.about}", f"  do: {item.do}"]
    return "\n".join(lines)


def _said(value: int | None) -> str:
    return "unlimited" if value is None else f"{value:,}"
