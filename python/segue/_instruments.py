"""Instruments: objects that are told what the tasks of a loop do.

The core tells a loop's `_task_hook`, and its waits are told by `_waits.py`; both are set only while there is
an instrument that wants to know, so that a loop without instruments has neither.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html#instrument-api
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ._core import Task
from ._waits import waits_of

logger = logging.getLogger("segue.instruments")


class Instrument:
    """A base class for instruments: override what you want to be told. Nothing here may wait.

    One that raises is logged and removed. The hooks are looked up when the instrument is added.
    """

    __slots__ = ()

    def before_run(self) -> None:
        """The run begins."""

    def after_run(self) -> None:
        """The run has ended."""

    def task_spawned(self, task: Task[Any]) -> None:
        """A task was made."""

    def task_scheduled(self, task: Task[Any]) -> None:
        """A task is ready; it will run soon."""

    def before_task_step(self, task: Task[Any]) -> None:
        """A task is about to run, up to its next suspension."""

    def after_task_step(self, task: Task[Any]) -> None:
        """A task has suspended or ended."""

    def task_exited(self, task: Task[Any]) -> None:
        """A task has ended."""

    def before_io_wait(self, timeout: float) -> None:
        """The loop is going to wait for at most `timeout` seconds, or only to look (0)."""

    def after_io_wait(self, timeout: float) -> None:
        """The loop has waited."""


HOOKS = tuple(name for name in vars(Instrument) if not name.startswith("_"))
# The core's word for what happens to a task, and the hook that is told.
_TASK_HOOKS = {
    "spawned": "task_spawned",
    "scheduled": "task_scheduled",
    "before_step": "before_task_step",
    "after_step": "after_task_step",
    "exited": "task_exited",
}
_IO_HOOKS = frozenset({"before_io_wait", "after_io_wait"})


class Instruments(dict[str, dict[Instrument, Callable[..., object]]]):
    """The instruments of one loop: for each hook who is told, and how."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._all: dict[Instrument, None] = {}

    def add(self, instrument: Instrument) -> None:
        """Start telling an instrument; nothing happens if it is told already."""
        if instrument in self._all:
            return
        found: dict[str, Callable[..., object]] = {}
        for name in HOOKS:
            hook = getattr(instrument, name, None)
            if hook is not None and getattr(hook, "__func__", None) is not getattr(Instrument, name):
                found[name] = hook
        self._all[instrument] = None
        for name, hook in found.items():
            self.setdefault(name, {})[instrument] = hook
        self._changed()

    def remove(self, instrument: Instrument) -> None:
        """Stop telling an instrument. KeyError if it isn't told."""
        del self._all[instrument]
        for name in [name for name, told in self.items() if instrument in told]:
            del self[name][instrument]
            if not self[name]:
                del self[name]
        self._changed()

    def _changed(self) -> None:
        attributes = vars(self._loop)
        if not self.keys().isdisjoint(_TASK_HOOKS.values()):
            if "_task_hook" not in attributes:
                self._loop._task_hook = self._task_hook
        elif "_task_hook" in attributes:
            del self._loop._task_hook
        waits = waits_of(self._loop)
        told = not _IO_HOOKS.isdisjoint(self)
        waits.watchers = (self._before_io_wait, self._after_io_wait) if told else None
        waits.changed()

    def tell(self, hook: str, *args: object) -> None:
        """Call a hook on all that have it."""
        for instrument, call in list(self.get(hook, {}).items()):
            try:
                call(*args)
            except BaseException:
                if instrument in self._all:
                    self.remove(instrument)
                logger.exception(
                    "Exception raised when calling %r on instrument %r. Instrument has been disabled.",
                    hook,
                    instrument,
                )

    def _task_hook(self, what: str, task: Task[Any]) -> None:
        self.tell(_TASK_HOOKS[what], task)

    def _before_io_wait(self, timeout: float) -> None:
        self.tell("before_io_wait", timeout)

    def _after_io_wait(self, timeout: float) -> None:
        self.tell("after_io_wait", timeout)


def instruments_of(loop: asyncio.AbstractEventLoop) -> Instruments:
    """A loop's instruments."""
    found: Instruments | None = vars(loop).get("_instruments")
    if found is None:
        found = vars(loop)["_instruments"] = Instruments(loop)
    return found


def add_instrument(instrument: Instrument) -> None:
    """Tell an instrument what the tasks of the running loop do; nothing happens if it is told already."""
    instruments_of(asyncio.get_running_loop()).add(instrument)


def remove_instrument(instrument: Instrument) -> None:
    """Stop telling an instrument. KeyError if it isn't told, for instance since it has raised."""
    instruments_of(asyncio.get_running_loop()).remove(instrument)
