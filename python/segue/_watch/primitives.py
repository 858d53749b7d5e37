"""Who holds asyncio's locks and semaphores, who waits for which event, condition or queue: told to a recording.

asyncio's own objects don't know it. While somebody records, their methods are wrapped; afterwards they are asyncio's
own again. The wrappers call asyncio's methods and tell; they decide nothing.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

from .. import _core
from .code import is_program, place, program_frame
from .codes import QUEUE_GROWS, QUEUE_NOT_DRAINED

_FIRST = 1 << 48
"""Numbers of asyncio's objects: no address of another object is so high (trace::warning)."""

_GROWN = 256
"""Items in a queue without bound, put in more than _TURNS turns of the loop, before it is told."""
_TURNS = 16
_LEFT = 10
"""So many items that are left at the end are told, also if some were taken."""


class Primitives:
    """The wrappers, and what they know of each object."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._last = _FIRST
        self._originals: list[tuple[type, str, Any]] = []
        self._queues: dict[int, _Queue] = {}

    def number(self, o: Any) -> int:
        known = self._numbers.get(id(o))
        if known is not None and known[1]() is o:
            return known[0]
        self._last += 1
        key, numbers = id(o), self._numbers
        numbers[key] = (self._last, weakref.ref(o, lambda gone: _forget(numbers, key, gone)))
        return self._last

    # --- In and out -----------------------------------------------------------------------------------

    def install(self) -> None:
        for owner in (asyncio.Lock, asyncio.Semaphore):
            what = owner.__name__
            self._wrap_wait(owner, "acquire", what + ".acquire", functools.partial(self._got, what=what))
            self._wrap(owner, "release", before=self._released, after=None)
        self._wrap_wait(asyncio.Event, "wait", "Event.wait", None)
        self._wrap(asyncio.Event, "set", before=self._signalled, after=None)
        self._wrap_wait(asyncio.Condition, "wait", "Condition.wait", None)
        self._wrap(asyncio.Condition, "notify", before=self._signalled, after=None)
        self._wrap_wait(asyncio.Barrier, "wait", "Barrier.wait", None)
        for name in ("get", "put", "join"):
            self._wrap_wait(asyncio.Queue, name, "Queue." + name, None)
        self._wrap(asyncio.Queue, "put_nowait", before=None, after=self._was_put)
        self._wrap(asyncio.Queue, "get_nowait", before=None, after=self._was_taken)

    def remove(self) -> None:
        """What somebody else has put there meanwhile stays."""
        for owner, name, original in reversed(self._originals):
            if getattr(owner.__dict__.get(name), "_segue_wraps", None) is original:
                setattr(owner, name, original)
        self._originals.clear()

    def _put(self, owner: type, name: str, original: Any, wrapper: Any) -> None:
        wrapper._segue_wraps = original
        setattr(owner, name, functools.wraps(original)(wrapper))
        self._originals.append((owner, name, original))

    def _wrap_wait(self, owner: type, name: str, what: str, got: Callable[[Any], None] | None) -> None:
        original = owner.__dict__[name]
        number, wants = self.number, _core._tell_wants
        # Queues and barriers are made of events and conditions, which are then not what is waited for; their locks are.
        part = owner in (asyncio.Event, asyncio.Condition)

        async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            is_told = wants(number(self), what, part)
            try:
                result = await original(self, *args, **kwargs)
            finally:
                if is_told:
                    wants(0, "", False)
            if got is not None:
                got(self)
            return result

        self._put(owner, name, original, wrapper)

    def _wrap(
        self, owner: type, name: str, *, before: Callable[[Any], None] | None, after: Callable[[Any], None] | None
    ) -> None:
        original = owner.__dict__[name]

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            if before is not None:
                before(self)
            result = original(self, *args, **kwargs)
            if after is not None:
                after(self)
            return result

        self._put(owner, name, original, wrapper)

    # --- What they tell -------------------------------------------------------------------------------

    def _got(self, o: Any, what: str) -> None:
        _core._tell_hold(self.number(o), what)

    def _released(self, o: Any) -> None:
        _core._tell_release(self.number(o))

    def _signalled(self, o: Any) -> None:
        _core._tell_signal(self.number(o))

    def _queue(self, queue: Any) -> _Queue:
        number = self.number(queue)
        known = self._queues.get(number)
        if known is None:
            known = self._queues[number] = _Queue(number, queue.qsize())
            if len(self._queues) > 10_000:
                del self._queues[next(iter(self._queues))]
        return known

    def _was_put(self, queue: Any) -> None:
        state = self._queue(queue)
        _core._tell_signal(state.number)
        size = queue.qsize()
        state.put(size)
        if size >= 16 and size & (size - 1) == 0:
            _core._tell_queue(state.number, size)
            if queue.maxsize <= 0 and size >= _GROWN and state.turns >= _TURNS:
                _core._tell_warning(QUEUE_GROWS, None, None, f"A queue without maxsize has {size} items", 0)

    def _was_taken(self, queue: Any) -> None:
        self._queue(queue).taken(queue.qsize())

    def end(self) -> None:
        """What is left in queues when the recording ends."""
        for state in self._queues.values():
            # Who takes items now and then may just not have come to the last ones.
            if state.size and state.last and (state.gets == 0 or min(state.size, state.unanswered) >= _LEFT):
                if state.gets == 0:
                    items = "1 item was" if state.puts == 1 else f"{state.puts} items were"
                    text = f"{items} put into a queue and none taken out"
                else:
                    text = f"{state.size} items were left in a queue from which {state.gets} were taken"
                if state.name:
                    text += f" (put by {state.name})"
                task = state.task() if state.task is not None else None
                _core._tell_warning(QUEUE_NOT_DRAINED, state.last, task, text, 0)


class _Queue:
    """What is known of a queue."""

    __slots__ = ("_turn", "gets", "last", "name", "number", "puts", "size", "task", "turns", "unanswered")

    def __init__(self, number: int, size: int) -> None:
        self.number, self.size = number, size
        self.puts = self.gets = 0
        self.unanswered = 0
        """Items put since one was taken."""
        self.turns = 0
        """In how many turns of the loop something was put since it was empty."""
        self._turn = -1
        self.last = ""
        """Where the program put the last item."""
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        self.name = ""

    def put(self, size: int) -> None:
        self.puts += 1
        self.unanswered += 1
        if size <= 1:
            self.turns = 0
        turn = _core._turn_number()
        if turn != self._turn:
            self._turn = turn
            self.turns += 1
        self.size = size
        if self.puts & (self.puts - 1) == 0:  # often enough, and cheap
            self._note_place()

    def _note_place(self) -> None:
        frame = program_frame(sys._getframe(3))
        if frame is not None and is_program(frame.f_code):
            self.last = place(frame)
            task = asyncio.current_task()
            self.task, self.name = (None, "") if task is None else (weakref.ref(task), task.get_name())

    def taken(self, size: int) -> None:
        self.gets += 1
        self.unanswered = 0
        self.size = size


def _forget(numbers: dict[int, tuple[int, weakref.ref[Any]]], key: int, gone: weakref.ref[Any]) -> None:
    known = numbers.get(key)
    if known is not None and known[1] is gone:
        del numbers[key]
