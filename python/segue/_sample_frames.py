"""Frames and coroutines of which everything is known: where the interpreter keeps what of them.

Called once, when something is recorded for the first time; see `crates/py/src/raw/frame_layout.rs`.
"""

from __future__ import annotations

import opcode
import sys
import types
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any

_RESUME = opcode.opmap["RESUME"]

# One that is suspended, its frame, its code and what it awaits.
Suspended = tuple[Any, FrameType, CodeType, object]


def run(look: Callable[[int], None]) -> None:
    """Calls `look(n)` where the innermost n frames have called each other from Python."""
    look(1)

    def outer() -> None:
        look(2)
        inner(3)

    def inner(linked: int) -> None:
        look(linked)

    outer()
    inner(2)


def first_traced() -> list[tuple[CodeType, int]]:
    """Code objects, each with the number of its first instruction that is traced."""
    one, two, three = 1, 2, 3

    def plain() -> None:
        pass

    def with_free() -> int:
        return one

    def with_cells(a: int, b: int, c: int) -> Callable[[], int]:
        return lambda: a + b + c

    def generator(a: int) -> Generator[Callable[[], int]]:
        yield lambda: a + one + two + three

    async def coroutine(a: int, b: int, c: int, d: int) -> Callable[[], int]:
        return lambda: a + b + c + d + three

    functions: list[Callable[..., Any]] = [plain, with_free, with_cells, generator, coroutine, run]
    return [(f.__code__, f.__code__.co_code[::2].index(_RESUME)) for f in functions]


@types.coroutine
def _pause() -> Generator[None]:
    yield


async def _waits() -> None:
    await _pause()


async def _waits_below() -> None:
    await _waits()


def _waits_from() -> Generator[None]:
    yield from _pause()


async def _generates() -> AsyncGenerator[None]:
    await _pause()
    yield


def coroutines(look: Callable[[list[Suspended], list[Any], list[Any], list[tuple[Any, object]]], None]) -> None:
    """Calls `look` with coroutines and their like that are suspended, that have not begun, and that are over.

    And with what the interpreter wraps around them, each with what is in it.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)  # these are none of a running loop's
    to_close: list[Any] = []
    try:
        first: Any = _waits()
        second: Any = _waits_below()
        generator: Any = _waits_from()
        async_generator: Any = _generates()
        step, throw = async_generator.asend(None), async_generator.athrow(ValueError)
        following = anext(async_generator, None)
        not_begun = [_waits(), _waits_below()]
        ended: list[Any] = [_waits(), _waits_below()]
        closed: list[Any] = [_waits(), _waits_below()]
        to_close += [first, second, generator, *not_begun, *ended, *closed, step, throw, following, first.__await__()]
        started: Any
        for started in (first, second, generator, step, *ended):
            started.send(None)
        for over in ended:
            with suppress(StopIteration):
                over.send(None)
        for over in closed:
            over.close()
        look(
            [
                (first, first.cr_frame, first.cr_code, first.cr_await),
                (second, second.cr_frame, second.cr_code, second.cr_await),
                (generator, generator.gi_frame, generator.gi_code, generator.gi_yieldfrom),
                (async_generator, async_generator.ag_frame, async_generator.ag_code, async_generator.ag_await),
            ],
            not_begun,
            [*ended, *closed],
            [(first.__await__(), first), (step, async_generator), (throw, async_generator), (following, None)],
        )
    finally:
        for one in to_close:
            one.close()
        sys.set_asyncgen_hooks(*hooks)
