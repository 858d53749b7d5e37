"""Asynchronous generators that are left before their end: their clean-up runs some time later, if ever."""

from __future__ import annotations

import sys
import weakref
from types import CodeType, FrameType
from typing import Any

from .. import _core
from .code import async_for_line, is_program, place, place_of, program_frame
from .codes import GENERATOR_NOT_CLOSED
from .handlers import handlers


class Generators:
    """What is told by the loop's hooks for asynchronous generators."""

    def __init__(self) -> None:
        self._iterated = _Iterated()

    def begins(self, loop: Any, generator: Any) -> None:
        frame = program_frame(sys._getframe(2))
        if frame is not None:
            self._iterated.begins(generator, place(frame))

    def dropped(self, loop: Any, generator: Any) -> None:
        frame = program_frame(sys._getframe(2))
        self._not_closed(generator, frame)

    def left(self, loop: Any) -> None:
        for generator in list(loop._asyncgens):
            if generator.ag_frame is not None and not generator.ag_running:
                self._not_closed(generator, None)

    def _not_closed(self, generator: Any, left_by: FrameType | None) -> None:
        code = generator.ag_code
        frame = generator.ag_frame
        if not is_program(code) or frame is None or not _cleans_up(code, frame.f_lasti):
            return
        line = frame.f_lineno
        where = place_of(code, line)
        text = f"The asynchronous generator {generator.__qualname__}() stands at its `yield` (line {line})"
        where = self._iterated.where(generator) or where
        if left_by is not None and left_by.f_code is not code:
            loop_line = async_for_line(left_by.f_code, left_by.f_lasti)
            if loop_line is not None:
                where = place_of(left_by.f_code, loop_line)
                if left_by.f_lineno != loop_line:
                    text += f" since the loop was left at line {left_by.f_lineno}"
        text += ", and its clean-up runs only when the loop or the garbage collector gets to it: iterated"
        _core._tell_warning(GENERATOR_NOT_CLOSED, where, None, text, 0)


def _cleans_up(code: CodeType, lasti: int) -> bool:
    """Whether a generator that stands at this instruction has something to do when it is closed there."""
    return any(True for _ in handlers(code, lasti))


class _Iterated:
    """Where the program began to iterate over each asynchronous generator."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._last = (0, "")
        """Of the generator that has just gone: its weak references die before its finalizer is called."""

    def begins(self, generator: Any, where: str) -> None:
        key = id(generator)
        self._places[key] = (weakref.ref(generator, lambda gone: self._has_gone(key, gone)), where)

    def _has_gone(self, key: int, gone: weakref.ref[Any]) -> None:
        known = self._places.get(key)
        if known is not None and known[0] is gone:
            self._last = (key, self._places.pop(key)[1])

    def where(self, generator: Any) -> str:
        key = id(generator)
        known = self._places.get(key)
        if known is not None:
            return known[1]
        return self._last[1] if self._last[0] == key else ""
