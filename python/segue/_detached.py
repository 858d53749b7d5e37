"""Coroutines that leave their task for a while and are resumed by something else than the loop. For experts.

Semantics: Trio's,
https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.temporarily_detach_coroutine_object
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Generator
from typing import Any

from ._core import reschedule, wait_task_rescheduled
from ._lowlevel import Abort, RaiseCancel, current_task


class _Detached:
    """What a coroutine yields that leaves its task for good; the core looks at the attribute."""

    __slots__ = ("_segue_detached",)

    def __init__(self, outcome: Any) -> None:
        self._segue_detached = outcome


@types.coroutine
def permanently_detach_coroutine_object(final_outcome: Any) -> Generator[Any, Any, Any]:
    """End the current task with `final_outcome` (an `outcome.Value` or `Error`), but not its coroutine: whoever has
    that may `send` to it, and what is sent is returned here.

    RuntimeError if the task has nurseries open.
    """
    if current_task().child_nurseries:
        raise RuntimeError("can't permanently detach a coroutine object with open nurseries")
    return (yield _Detached(final_outcome))


@types.coroutine
def temporarily_detach_coroutine_object(
    abort_func: Callable[[RaiseCancel], Abort],
) -> Generator[Any, Any, Any]:
    """Detach the current coroutine from its task: whoever has it may `send` to it, and what is sent is returned here.

    The task waits meanwhile, as in `wait_task_rescheduled`; `abort_func` is called if it is cancelled. The
    coroutine must call `reattach_detached_coroutine_object` before it ends or awaits anything of the loop's.
    """
    return (yield wait_task_rescheduled(abort_func).send(None))


@types.coroutine
def reattach_detached_coroutine_object(
    task: asyncio.Task[Any], yield_value: object
) -> Generator[Any, Any, None]:
    """Give the detached coroutine that runs now back to its task; whoever runs it gets `yield_value` and
    must not resume it.

    RuntimeError if the coroutine is not `task`'s.
    """
    if not task.get_coro().cr_running:  # type: ignore[union-attr]
        raise RuntimeError("given task does not match calling coroutine")
    reschedule(task)
    yield yield_value
