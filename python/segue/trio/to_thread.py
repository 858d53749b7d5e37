"""`trio.to_thread`: `segue.to_thread` under Trio's name.

https://trio.readthedocs.io/en/stable/reference-core.html#putting-blocking-i-o-into-worker-threads
"""

from ..to_thread import current_default_thread_limiter, run_sync

__all__ = ["current_default_thread_limiter", "run_sync"]
