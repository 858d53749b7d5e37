"""`segue.background`: tasks that nobody waits for, and that are not lost for that."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from ._core import Task

T = TypeVar("T")

_DRAIN_SECONDS = 5.0


def _running(loop: asyncio.AbstractEventLoop) -> dict[asyncio.Task[Any], str]:
    """The background tasks of a loop, each with where it was started. Kept by the loop, so that none is collected."""
    found: dict[asyncio.Task[Any], str] = vars(loop).setdefault("_background_tasks", {})
    return found


def background(coro: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Run a coroutine as a task that nobody has to wait for; returns the task.

    In contrast to `asyncio.create_task` it is held until it ends, and if it fails, the loop's exception handler is told
    at once, with the line that started it. It is in no cancel scope. `segue.run` and `segue.Runner` wait for it at the
    end, for up to 5 seconds, before they cancel it. RuntimeError without a running loop.
    """
    if not asyncio.iscoroutine(coro):
        raise TypeError(f"a coroutine was expected, got {coro!r}")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        coro.close()
        raise
    task: asyncio.Task[T] = Task(coro, loop=loop, name=name)
    caller = sys._getframe(1)
    _running(loop)[task] = f"{caller.f_code.co_filename}:{caller.f_lineno} {caller.f_code.co_qualname}"
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    started = _running(task.get_loop()).pop(task, "an unknown place")
    if task.cancelled() or (exc := task.exception()) is None:
        return
    task.get_loop().call_exception_handler(
        {
            "message": f"background task {task.get_name()!r}, started at {started}, failed",
            "exception": exc,
            "task": task,
        }
    )


async def drain() -> None:
    """Wait for the background tasks of the running loop, also for those started meanwhile: 5 seconds at most."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _DRAIN_SECONDS
    while (left := list(_running(loop))) and (seconds := end - loop.time()) > 0:
        await asyncio.wait(left, timeout=seconds)
