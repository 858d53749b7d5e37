"""What tests of asynchronous code need: a clock of their own, quiet, order, checkpoints, and streams without a network.

https://trio.readthedocs.io/en/stable/reference-testing.html
"""

from .._waits import wait_all_tasks_blocked
from ._async_test import trio_test
from ._checkpoints import assert_checkpoints, assert_no_checkpoints
from ._mock_clock import MockClock
from ._sequencer import Sequencer

__all__ = [
    "MockClock",
    "Sequencer",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "trio_test",
    "wait_all_tasks_blocked",
]

try:
    from ._streams import *
    from ._streams import __all__ as _streams_names
except ModuleNotFoundError:
    pass
else:
    __all__ += _streams_names
