"""Tests of Trio that are not run, each with the design decision it is about. Nothing that merely fails belongs here.

The decisions were named before a line was written: Cancelled's constructor, sniffio saying "trio", guest mode,
KeyboardInterrupt internals, and the modules left for later. What fails for another reason is in
`known_failures.py`, and counts.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

CONSTRUCTOR = "Cancelled's constructor: segue.Cancelled is asyncio.CancelledError, which anybody can make"
SNIFFIO = "sniffio saying trio: Segue's tasks are asyncio tasks, and sniffio says asyncio"
KI = "KeyboardInterrupt internals: Ctrl-C is delivered to the main task"

EXCLUDED: dict[str, str] = {
    "_tests/test_threads.py::test_trio_to_thread_run_sync_contextvars": SNIFFIO,
    "_tests/test_threads.py::test_trio_from_thread_run_sync_contextvars": SNIFFIO,
    "_tests/test_threads.py::test_trio_from_thread_run_contextvars": SNIFFIO,
    "_core/_tests/test_run.py::test_sniffio_integration": SNIFFIO,
    "_core/_tests/test_cancelled.py::test_Cancelled_init": CONSTRUCTOR,
    "_core/_tests/test_cancelled.py::test_Cancelled_str": CONSTRUCTOR,
    "_core/_tests/test_cancelled.py::test_Cancelled_subclass": CONSTRUCTOR,
    "_core/_tests/test_cancelled.py::test_Cancelled_pickle": CONSTRUCTOR,
    "_core/_tests/test_cancelled.py::test_reason_delayed_ki": KI,
}


def why_excluded(test: str) -> str | None:
    """The reason for which `file::name[parameters]` is not run, or None."""
    plain = test.partition("[")[0]
    for pattern, reason in EXCLUDED.items():
        if plain == pattern or test == pattern or ("*" in pattern and fnmatchcase(plain, pattern)):
            return reason
    return None
