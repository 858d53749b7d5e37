"""What tests of asynchronous code need: a clock of their own, quiet, order, checkpoints, and streams without a network.

https://trio.readthedocs.io/en/stable/reference-testing.html
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._threads import active_thread_count, wait_all_threads_completed
    from .._waits import wait_all_tasks_blocked
    from ._async_test import trio_test
    from ._check_streams import check_half_closeable_stream, check_one_way_stream, check_two_way_stream
    from ._checkpoints import assert_checkpoints, assert_no_checkpoints
    from ._memory_streams import (
        MemoryReceiveStream,
        MemorySendStream,
        lockstep_stream_one_way_pair,
        lockstep_stream_pair,
        memory_stream_one_way_pair,
        memory_stream_pair,
        memory_stream_pump,
    )
    from ._mock_clock import MockClock
    from ._network import open_stream_to_socket_listener
    from ._sequencer import Sequencer

__all__ = [
    "MemoryReceiveStream",
    "MemorySendStream",
    "MockClock",
    "Sequencer",
    "active_thread_count",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "check_half_closeable_stream",
    "check_one_way_stream",
    "check_two_way_stream",
    "lockstep_stream_one_way_pair",
    "lockstep_stream_pair",
    "memory_stream_one_way_pair",
    "memory_stream_pair",
    "memory_stream_pump",
    "open_stream_to_socket_listener",
    "trio_test",
    "wait_all_tasks_blocked",
    "wait_all_threads_completed",
]

# Loaded when first used: every pytest of an environment that has Segue loads this package, for the plugin.
_WHERE = {
    "MemoryReceiveStream": "._memory_streams",
    "MemorySendStream": "._memory_streams",
    "MockClock": "._mock_clock",
    "Sequencer": "._sequencer",
    "active_thread_count": ".._threads",
    "assert_checkpoints": "._checkpoints",
    "assert_no_checkpoints": "._checkpoints",
    "check_half_closeable_stream": "._check_streams",
    "check_one_way_stream": "._check_streams",
    "check_two_way_stream": "._check_streams",
    "lockstep_stream_one_way_pair": "._memory_streams",
    "lockstep_stream_pair": "._memory_streams",
    "memory_stream_one_way_pair": "._memory_streams",
    "memory_stream_pair": "._memory_streams",
    "memory_stream_pump": "._memory_streams",
    "open_stream_to_socket_listener": "._network",
    "trio_test": "._async_test",
    "wait_all_tasks_blocked": ".._waits",
    "wait_all_threads_completed": ".._threads",
}


def _load(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # a checker that sees a module's __getattr__ takes any name for good
    __getattr__ = _load
