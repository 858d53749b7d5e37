"""Tests of Trio that are run and fail, each with the reason. They count as failed.

A test that fails and isn't here makes `run.py` fail, and so does one that is here and passes: take it out then.
"""

from __future__ import annotations

TEXT = (
    "the text of Cancelled: Segue's says who cancelled and in which line, Trio's names the task by its repr; "
    "source, reason and task are in exc.cancellation"
)
MISNESTING = "the error is raised at the exit and names both scopes with lines; Trio's comes when the task has ended"
COUNT = "counts Trio's own tasks: calls from other threads are a task there, with a descriptor, and the loop's here"
REPR = "the repr of a task is asyncio's, which tells the line where it is: no two of them are equal"
LONE = (
    "a nursery out of which only cancellations come raises one of them: asyncio's code knows only the lone one. "
    "A scope around it catches either"
)
DETERMINISM = "asserts that the order of tasks is random; Segue's is the same in each run, to repeat failures"
ASYNCIO = "wants a TypeError for awaiting another loop's Future; Segue's tasks await Futures; the error is asyncio's"
INTERNALS = "breaks Trio's scheduler from within and looks at what becomes of it; Segue's has no such place"

KNOWN: dict[str, str] = {
    "_core/_tests/test_cancelled.py::test_cancel_reason": TEXT,
    "_core/_tests/test_cancelled.py::test_cancel_reason_nursery": TEXT,
    "_core/_tests/test_cancelled.py::test_cancel_reason_nursery2": TEXT,
    "_core/_tests/test_cancelled.py::test_cancel_reason_nursery3": TEXT,
    "_core/_tests/test_cancelled.py::test_cancel_reason_not_overwritten": TEXT,
    "_core/_tests/test_cancelled.py::test_cancel_reason_not_overwritten_2": TEXT,
    "_core/_tests/test_cancelled.py::test_nested_child_source": TEXT,
    "_core/_tests/test_run.py::test_cancel_scope_misnesting_2": TEXT,
    "_tests/test_threads.py::test_from_thread_check_cancelled_no_abandon[True]": TEXT,
    "_tests/test_threads.py::test_from_thread_check_cancelled_abandon_on_cancel": TEXT,
    "_core/_tests/test_run.py::test_nursery_nested_child_misnest": MISNESTING,
    "_core/_tests/test_run.py::test_current_statistics": COUNT,
    "_core/_tests/test_io.py::test_io_manager_statistics": COUNT,
    "_core/_tests/test_parking_lot.py::test_parking_lot_breaker_basic": REPR,
    "_tests/test_highlevel_open_tcp_stream.py::test_cancel": LONE,
    "_tests/test_scheduler_determinism.py::test_the_trio_scheduler_is_not_deterministic": DETERMINISM,
    "_core/_tests/test_run.py::test_calling_asyncio_function_gives_nice_error": ASYNCIO,
    "_core/_tests/test_run.py::test_asyncio_function_inside_nursery_does_not_explode": ASYNCIO,
    "_core/_tests/test_run.py::test_error_in_run_loop": INTERNALS,
    "_core/_tests/test_run.py::test_context_run_tb_frames": INTERNALS,
}
