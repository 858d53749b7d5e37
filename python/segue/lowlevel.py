"""What synchronisation primitives and I/O are built of, with Trio's names.

https://trio.readthedocs.io/en/stable/reference-lowlevel.html
"""

from ._core import (
    ParkingLot,
    Task,
    add_parking_lot_breaker,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    remove_parking_lot_breaker,
    reschedule,
    wait_task_rescheduled,
)
from ._lowlevel import (
    Abort,
    RaiseCancel,
    RunVar,
    RunVarToken,
    current_root_task,
    current_task,
    in_run,
    in_task,
    notify_closing,
    spawn_system_task,
    wait_readable,
    wait_writable,
)
from ._pipes import FdStream
from ._process import open_process
from ._statistics import ParkingLotStatistics
from ._thread_cache import start_thread_soon
from ._token import TrioToken, current_trio_token

__all__ = [
    "Abort",
    "FdStream",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancel",
    "RunVar",
    "RunVarToken",
    "Task",
    "TrioToken",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_root_task",
    "current_task",
    "current_trio_token",
    "in_run",
    "in_task",
    "notify_closing",
    "open_process",
    "remove_parking_lot_breaker",
    "reschedule",
    "spawn_system_task",
    "start_thread_soon",
    "wait_readable",
    "wait_task_rescheduled",
    "wait_writable",
]
