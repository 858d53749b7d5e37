"""`Sequencer`: blocks of several tasks in an order that the test decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .._core import Event
from .._scopes import Cancelled


class Sequencer:
    """`async with seq(0): ...`, `async with seq(1): ...` in different tasks run one behind the other, in that order.

    Each position can be used once. If a task is cancelled while it waits for its turn, all that wait or come later get
    RuntimeError, since the sequence can't go on.

    Semantics: https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.Sequencer
    """

    def __init__(self) -> None:
        self._reached: defaultdict[int, Event] = defaultdict(Event)
        self._used: set[int] = set()
        self._broken = False

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncIterator[None]:
        if position in self._used:
            raise RuntimeError(f"Attempted to reuse sequence point {position}")
        if self._broken:
            raise RuntimeError("sequence broken!")
        self._used.add(position)
        if position != 0:
            try:
                await self._reached[position].wait()
            except Cancelled:
                self._broken = True
                for reached in self._reached.values():
                    reached.set()
                raise RuntimeError("Sequencer wait cancelled -- sequence broken") from None
            if self._broken:
                raise RuntimeError("sequence broken!")
        try:
            yield
        finally:
            self._reached[position + 1].set()
