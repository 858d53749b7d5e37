"""`trio.lowlevel`: `segue.lowlevel` under Trio's names.

https://trio.readthedocs.io/en/stable/reference-lowlevel.html
"""

from .. import lowlevel as _lowlevel
from .._lowlevel import RaiseCancel as RaiseCancelT
from .._lowlevel import in_run as in_trio_run
from .._lowlevel import in_task as in_trio_task
from ..lowlevel import *  # noqa: F403  (all of it, under the same names)
from ._guest import start_guest_run

__all__ = [
    *(name for name in _lowlevel.__all__ if name not in ("RaiseCancel", "in_run", "in_task")),
    "RaiseCancelT",
    "in_trio_run",
    "in_trio_task",
    "start_guest_run",
]
