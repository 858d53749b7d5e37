"""What synchronisation primitives and I/O are built of, with Trio's names.

https://trio.readthedocs.io/en/stable/reference-lowlevel.html
"""

from ._clock import current_clock
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
from ._detached import (
    permanently_detach_coroutine_object,
    reattach_detached_coroutine_object,
    temporarily_detach_coroutine_object,
)
from ._idna import encode_hostname
from ._instruments import add_instrument, remove_instrument
from ._interrupts import currently_ki_protected, disable_ki_protection, enable_ki_protection
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
from ._run_statistics import RunStatistics, current_statistics
from ._statistics import ParkingLotStatistics
from ._thread_cache import start_thread_soon
from ._token import TrioToken, current_trio_token
from ._unbounded_queue import UnboundedQueue, UnboundedQueueStatistics

__all__ = [
    "Abort",
    "FdStream",
    "ParkingLot",
    "ParkingLotStatistics",
    "RaiseCancel",
    "RunStatistics",
    "RunVar",
    "RunVarToken",
    "Task",
    "TrioToken",
    "UnboundedQueue",
    "UnboundedQueueStatistics",
    "add_instrument",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_clock",
    "current_root_task",
    "current_statistics",
    "current_task",
    "current_trio_token",
    "currently_ki_protected",
    "disable_ki_protection",
    "enable_ki_protection",
    "encode_hostname",
    "in_run",
    "in_task",
    "notify_closing",
    "open_process",
    "permanently_detach_coroutine_object",
    "reattach_detached_coroutine_object",
    "remove_instrument",
    "remove_parking_lot_breaker",
    "reschedule",
    "spawn_system_task",
    "start_thread_soon",
    "temporarily_detach_coroutine_object",
    "wait_readable",
    "wait_task_rescheduled",
    "wait_writable",
]
