"""`SEGUE_RECORD=FILE`, `SEGUE_FLIGHT=FOLDER`, `SEGUE_WARN=1`, which `segue run --record`, `--flight`, `--warn` set.

The process's first loop begins a recording, or a flight recorder. It ends with the process, which prints the warnings.

Children of the process have files of their own: FILE with their number before its ending, as all in FOLDER have it.
Their warnings are in them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

VARIABLE = "SEGUE_RECORD"
WARN_VARIABLE = "SEGUE_WARN"
MEMORY_VARIABLE = "SEGUE_RECORD_MEMORY"
_OWNER = "_SEGUE_RECORD_OWNER"
"""In the environment: the number of the process that has FILE itself."""
FLIGHT_VARIABLE = "SEGUE_FLIGHT"
FLIGHT_SETTINGS = {
    "SEGUE_FLIGHT_SECONDS": "seconds",
    "SEGUE_FLIGHT_STALL": "stall",
    "SEGUE_FLIGHT_SIGNAL": "signal",
    "SEGUE_FLIGHT_KEEP": "keep",
    "SEGUE_FLIGHT_PAUSE": "pause",
    MEMORY_VARIABLE: "memory",
}

_begun_in = 0


def path_for_this_process() -> str:
    path, here = os.environ[VARIABLE], str(os.getpid())
    if _is_the_owner():
        return path
    stem, ending = os.path.splitext(path)
    return f"{stem}.{here}{ending}"


def _is_the_owner() -> bool:
    here = str(os.getpid())
    return os.environ.setdefault(_OWNER, here) == here


def begin() -> None:
    """Begin it, once per process. Raises OSError if it can't be written, ValueError for values that make no sense."""
    global _begun_in
    if _begun_in == os.getpid():
        return
    _begun_in = os.getpid()
    import atexit

    recording: Any
    if os.environ.get(VARIABLE):
        from ._recording import MEMORY, bytes_of, record

        memory = bytes_of(os.environ.get(MEMORY_VARIABLE, MEMORY))
        recording = record(path_for_this_process(), memory=memory, warn=bool(os.environ.get(WARN_VARIABLE)))
    elif os.environ.get(FLIGHT_VARIABLE):
        recording = flight_of(os.environ)
    elif _is_the_owner():
        from ._recording import MEMORY, bytes_of, live_record

        recording = live_record(memory=bytes_of(os.environ.get(MEMORY_VARIABLE, MEMORY)))
    else:
        return  # warnings are about the program that was started, not about its children
    recording.start()
    atexit.register(_end, recording, os.getpid())


def flight_of(environment: Mapping[str, str]) -> Any:
    """The flight recorder that the variables describe. Raises ValueError, naming the one that makes no sense."""
    from ._flight import flight

    settings: dict[str, Any] = {}
    for variable, name in FLIGHT_SETTINGS.items():
        text = environment.get(variable)
        if not text:
            continue
        try:
            settings[name] = _READ.get(name, float)(text)
            flight(environment[FLIGHT_VARIABLE], **{name: settings[name]})
        except ValueError as error:
            raise ValueError(f"{variable}={text}: {error}") from None
    return flight(environment[FLIGHT_VARIABLE], **settings)


def signal_named(text: str) -> int | None:
    """ "SIGUSR2", "usr2", "12"; None for "none". ValueError for what is no signal that can be caught."""
    name = text.strip().upper()
    if name == "NONE":
        return None
    try:
        found = signal.Signals(int(name)) if name.isdecimal() else signal.Signals["SIG" + name.removeprefix("SIG")]
    except (KeyError, ValueError):
        raise ValueError("no signal of that name; write it as SIGUSR2, or none") from None
    if found in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError("no program can catch that signal")
    return found


_READ: dict[str, Any] = {"signal": signal_named, "keep": int, "memory": str}


def _end(recording: Any, pid: int) -> None:
    if os.getpid() != pid:
        return
    recording.stop()
    if not _is_the_owner() or sys.stderr is None or not hasattr(recording, "_warnings"):
        return
    found = recording._warnings()
    if WARN_VARIABLE in os.environ:
        print(format_warnings(found), file=sys.stderr)
    elif found:
        names = ", ".join(dict.fromkeys(warning["code"] for warning in found))
        print(
            f"segue: {_counted(found)} ({names}); `segue view {recording._path}` shows them", file=sys.stderr
        )


def _counted(found: list[dict[str, Any]]) -> str:
    return f"{len(found)} warning{'s' if len(found) != 1 else ''}"


def format_warnings(found: list[dict[str, Any]]) -> str:
    """As a linter prints them: place, code, title, whom it is about; then what happened, and what to write instead."""
    if not found:
        return "segue: no warnings"
    lines = [f"segue: {_counted(found)}"]
    for warning in found:
        place = warning["place"]
        where = f"{place['short']}: " if place else ""
        whom = f" [{warning['name']}]" if warning["name"] else ""
        times = f" ({warning['count']} times)" if warning["count"] > 1 else ""
        lines += [
            f"{where}{warning['code']}: {warning['title']}{times}{whom}",
            f"    {warning['text']}",
            f"    Instead: {warning['cure']}",
        ]
    return "\n".join(lines)
