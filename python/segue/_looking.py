"""What is seen of a running program from inside its interpreter: stacks, and a task that is to be cancelled.

Called by the core for who looks at the program (crates/py/src/recording/attached.rs), in a thread of its own.
Answers are JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import FrameType
from typing import Any

from ._explain.places import Place, place_of, suspended_in
from ._explain.words import repr_of

_DEEPEST = 200
_LONGEST = 300


def _told(places: list[Place]) -> list[dict[str, Any]]:
    return [{**place.as_dict(), "package": place.package} for place in places]


def _frames(frame: FrameType | None) -> list[Place]:
    """The outermost first."""
    found: list[Place] = []
    while frame is not None and len(found) < _DEEPEST:
        found.append(place_of(frame, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def thread_stack(thread: int) -> str:
    """The frames of a thread, the outermost first; null if it has none."""
    frame = sys._current_frames().get(thread)
    return json.dumps(None if frame is None else _told(_frames(frame)))


def task_stack(task: asyncio.Task[Any], thread: int | None) -> str:
    """Where a task is: `{"frames": [...], "ends_in": what its last frame awaits}`.

    `thread` is the one that runs it right now, None if it is suspended.
    """
    coroutine = task.get_coro()
    if thread is not None:
        places = _frames(sys._current_frames().get(thread))
        # From where the task's own code begins.
        begin = getattr(coroutine, "cr_code", None)
        for position, place in enumerate(places):
            if begin is not None and (place.file, place.function) == (begin.co_filename, begin.co_qualname):
                places = places[position:]
                break
        return json.dumps({"frames": _told(places), "ends_in": None, "running": True})
    suspended = list(suspended_in(coroutine))
    places = [place_of(frame, frame.f_lineno) for frame, _ in suspended]
    # What is behind the last frame is an iterator of the future's, mostly: the task knows better.
    waits_for = getattr(task, "_fut_waiter", None) or (suspended[-1][1] if suspended else None)
    ends_in = None if waits_for is None else repr_of(waits_for)[:_LONGEST]
    return json.dumps({"frames": _told(places), "ends_in": ends_in, "running": False})


def cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], message: str) -> str:
    """Have the loop cancel a task as soon as it can. Raises RuntimeError if it is closed."""
    if task.done():
        return "it has ended already"
    loop.call_soon_threadsafe(task.cancel, message)
    return "it was asked to cancel"
