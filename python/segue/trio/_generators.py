"""Asynchronous generators that are left open in a run: closed by the run, where the loop can see them.

| left open | closed in |
|---|---|
| collected while the run lasts | a system task, with a ResourceWarning |
| alive at its end | the root task, one behind the other, until none is left |
| first iterated outside of a task | whatever hooks there were before the run |

Each is closed in a cancelled scope, since nobody waits for what it still does.

https://trio.readthedocs.io/en/stable/reference-core.html#notes-on-async-generators
"""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
import weakref
from types import AsyncGeneratorType
from typing import Any, TypeAlias

from .._core import CancelScope, cancel_shielded_checkpoint
from .._errors import RunFinishedError
from .._lowlevel import spawn_system_task
from .._token import _token_of

Generator: TypeAlias = "AsyncGeneratorType[Any, Any]"

logger = logging.getLogger("segue.generators")

# A local variable's name that no program can have: weak references are gone when a finalizer runs.
_FOREIGN = "@segue foreign"


class Generators:
    """The asynchronous generators of one run."""

    def __init__(self, loop: Any) -> None:
        self._token = _token_of(loop)
        self._before = sys.get_asyncgen_hooks()
        self.alive: weakref.WeakSet[Generator] | set[Generator] = weakref.WeakSet()
        """Those that were iterated and not closed yet. A plain set, hence keeping them alive, once the run ends."""
        self._late: set[Generator] = set()
        """Collected when there were no system tasks any more."""
        loop._asyncgen_firstiter_hook = self._first_iteration
        loop._asyncgen_finalizer_hook = self._finalize

    def _first_iteration(self, agen: Generator) -> None:
        if asyncio.current_task() is not None:
            self.alive.add(agen)
            return
        if agen.ag_frame is not None:
            agen.ag_frame.f_locals[_FOREIGN] = True
        if self._before.firstiter is not None:
            self._before.firstiter(agen)

    def _finalize(self, agen: Generator) -> None:
        """The collector has found it unclosed."""
        self.alive.discard(agen)
        if agen.ag_frame is not None and agen.ag_frame.f_locals.get(_FOREIGN):
            self._finalize_foreign(agen)
            return
        name = _name(agen)
        try:
            self._token.run_sync_soon(self._close_soon, agen, name)
        except RunFinishedError:
            self._late.add(agen)
        warnings.warn(
            f"Async generator {name!r} was garbage collected before it had been exhausted. "
            "Use it in an 'async with aclosing(...):' block, so that it is closed as soon as you are done with it.",
            ResourceWarning,
            stacklevel=2,
            source=agen,
        )

    def _close_soon(self, agen: Generator, name: str) -> None:
        try:
            spawn_system_task(_close, agen, name, name=f"close asyncgen {name} (abandoned)")
        except RuntimeError:
            self._late.add(agen)

    def _finalize_foreign(self, agen: Generator) -> None:
        if self._before.finalizer is not None:
            self._before.finalizer(agen)
            return
        # As Python does it without hooks.
        closing = agen.aclose()
        try:
            closing.send(None)
        except StopIteration:
            return
        raise RuntimeError(
            f"Async generator {_name(agen)!r} awaited something during finalization; it was first iterated "
            "outside of a task, where nothing can wait. Use it in an 'async with aclosing(...):' block"
        )

    async def close_all(self) -> None:
        """The run ends: closes all that are left, and those that come into being through that."""
        self.alive = set(self.alive)
        # For those that the collector found just before: their calls of `_close_soon` are still to be made.
        await cancel_shielded_checkpoint()
        while self.alive or self._late:
            batch, self.alive, late, self._late = self.alive, set(), self._late, set()
            for agen in (*late, *batch):
                await _close(agen, _name(agen))


async def _close(agen: Generator, name: str) -> None:
    try:
        with CancelScope(shield=True) as scope:
            scope.cancel(reason="the generator was abandoned")
            await agen.aclose()
    except BaseException:
        logger.exception("Exception ignored during finalization of async generator %r", name)


def _name(agen: Generator) -> str:
    name = getattr(agen, "__qualname__", repr(agen))
    if agen.ag_frame is None:
        return name
    return f"{agen.ag_frame.f_globals.get('__name__', '?')}.{name}"

