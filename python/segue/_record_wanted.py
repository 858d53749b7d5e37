"""`SEGUE_RECORD=FILE` and `SEGUE_FLIGHT=FOLDER`, which `segue run --record` and `--flight` set.

The process's first loop begins a recording, or a flight recorder. It ends with the process.

Children of the process have files of their own: FILE with their number before its ending, as all in FOLDER have it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

VARIABLE = "SEGUE_RECORD"
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
    if os.environ.setdefault(_OWNER, here) == here:
        return path
    stem, ending = os.path.splitext(path)
    return f"{stem}.{here}{ending}"


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

        recording = record(path_for_this_process(), memory=bytes_of(os.environ.get(MEMORY_VARIABLE, MEMORY)))
    else:
        recording = flight_of(os.environ)
    recording.start()
    atexit.register(recording.stop)


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
