"""Tests of Trio that are not run, each with the design decision it is about. Nothing that merely fails belongs here."""

from __future__ import annotations

from fnmatch import fnmatchcase

CANCELLED = (
    "segue.Cancelled is asyncio.CancelledError: a public constructor, asyncio's text, provenance in exc.cancellation"
)
SNIFFIO = "Segue's tasks are asyncio tasks: sniffio says asyncio"
ASYNCIO = "Segue's tasks are asyncio tasks: awaiting a Future is allowed, and the error for a foreign one is asyncio's"
INTERNALS = "looks into Trio's own scheduler, not at behaviour"
DETERMINISM = "Segue's order is deterministic, always: the same program gives the same trace"
KI = "KeyboardInterrupt protection is not by decorators: Ctrl-C is delivered to the main task"

EXCLUDED: dict[str, str] = {
    "_tests/test_threads.py::test_trio_to_thread_run_sync_contextvars": SNIFFIO,
    "_tests/test_threads.py::test_trio_from_thread_run_sync_contextvars": SNIFFIO,
    "_tests/test_threads.py::test_trio_from_thread_run_contextvars": SNIFFIO,
    "_tests/test_threads.py::test_from_thread_check_cancelled_no_abandon[True]": CANCELLED,
    "_tests/test_threads.py::test_from_thread_check_cancelled_abandon_on_cancel": CANCELLED,
    "_core/_tests/test_cancelled.py::test_Cancelled_init": CANCELLED,
    "_core/_tests/test_cancelled.py::test_Cancelled_str": CANCELLED,
    "_core/_tests/test_cancelled.py::test_Cancelled_subclass": CANCELLED,
    "_core/_tests/test_cancelled.py::test_Cancelled_pickle": CANCELLED,
    "_core/_tests/test_cancelled.py::test_reason_delayed_ki": KI,
    "_tests/test_scheduler_determinism.py::test_the_trio_scheduler_is_not_deterministic": DETERMINISM,
    "_core/_tests/test_run.py::test_sniffio_integration": SNIFFIO,
    "_core/_tests/test_run.py::test_error_in_run_loop": INTERNALS,
    "_core/_tests/test_run.py::test_context_run_tb_frames": INTERNALS,
    "_core/_tests/test_run.py::test_calling_asyncio_function_gives_nice_error": ASYNCIO,
    "_core/_tests/test_run.py::test_asyncio_function_inside_nursery_does_not_explode": ASYNCIO,
}


def why_excluded(test: str) -> str | None:
    """The reason for which `file::name[parameters]` is not run, or None."""
    plain = test.partition("[")[0]
    for pattern, reason in EXCLUDED.items():
        if plain == pattern or test == pattern or ("*" in pattern and fnmatchcase(plain, pattern)):
            return reason
    return None
