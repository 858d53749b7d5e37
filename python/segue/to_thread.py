"""Blocking functions in worker threads, with Trio's names.

https://trio.readthedocs.io/en/stable/reference-core.html#putting-blocking-i-o-into-worker-threads
"""

from ._threads import (
    active_thread_count,
    current_default_thread_limiter,
    wait_all_threads_completed,
)
from ._threads import to_thread_run_sync as run_sync

__all__ = ["active_thread_count", "current_default_thread_limiter", "run_sync", "wait_all_threads_completed"]
