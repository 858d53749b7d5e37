"""`SEGUE_RECORD=FILE`, which `segue run --record FILE` sets: the process's first loop begins a recording.

It ends with the process.

Children of the process have files of their own: FILE with their number before its ending.
"""

from __future__ import annotations

import os

from ._recording import MEMORY, bytes_of, record

VARIABLE = "SEGUE_RECORD"
MEMORY_VARIABLE = "SEGUE_RECORD_MEMORY"
_OWNER = "_SEGUE_RECORD_OWNER"
"""In the environment: the number of the process that has FILE itself."""

_begun_in = 0


def path_for_this_process() -> str:
    path, here = os.environ[VARIABLE], str(os.getpid())
    if os.environ.setdefault(_OWNER, here) == here:
        return path
    stem, ending = os.path.splitext(path)
    return f"{stem}.{here}{ending}"


def begin() -> None:
    """Begin the recording, once per process. Raises OSError if the file can't be written, ValueError for bad sizes."""
    global _begun_in
    if _begun_in == os.getpid():
        return
    _begun_in = os.getpid()
    import atexit

    recording = record(path_for_this_process(), memory=bytes_of(os.environ.get(MEMORY_VARIABLE, MEMORY)))
    recording.start()
    atexit.register(recording.stop)
