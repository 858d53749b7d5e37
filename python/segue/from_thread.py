"""The way from a worker thread back to the loop, with Trio's names.

https://trio.readthedocs.io/en/stable/reference-core.html#getting-back-into-trio-from-another-thread
"""

from ._threads import from_thread_check_cancelled as check_cancelled
from ._threads import from_thread_run as run
from ._threads import from_thread_run_sync as run_sync

__all__ = ["check_cancelled", "run", "run_sync"]
