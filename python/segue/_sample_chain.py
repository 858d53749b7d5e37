"""A suspended coroutine for the core to measure: how this interpreter keeps what a coroutine awaits and where.

Called when somebody may look into the program (crates/py/src/recording/peek.rs).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any


class _Wait:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def _inner() -> None:
    here = _Wait()
    await here


async def _outer(first: int) -> None:
    second = first + 1
    if second:
        await _inner()


def make() -> tuple[Coroutine[Any, Any, None], list[tuple[str, str, int]]]:
    """The coroutine, and what should be found: file, function and line of each of its frames, the outermost first."""
    coroutine = _outer(1)
    coroutine.send(None)
    found: list[tuple[str, str, int]] = []
    at: Any = coroutine
    while at is not None:
        frame = getattr(at, "cr_frame", None) or at.gi_frame
        found.append((frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno))
        at = at.cr_await if hasattr(at, "cr_await") else at.gi_yieldfrom
    return coroutine, found
