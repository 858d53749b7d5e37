"""`trio.from_thread`: `segue.from_thread` under Trio's name.

https://trio.readthedocs.io/en/stable/reference-core.html#getting-back-into-the-trio-thread-from-another-thread
"""

from ..from_thread import check_cancelled, run, run_sync

__all__ = ["check_cancelled", "run", "run_sync"]
