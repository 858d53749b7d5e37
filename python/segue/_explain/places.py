"""Lines of code, of tracebacks and of suspended coroutines; and whose they are: the program's or a library's.

Source lines are read when they are shown, not when a frame is noted: an explanation may be made on the loop.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

MOST_FRAMES = 1_000
"""Of one traceback; a recursion without end has more, and they are all alike."""

_SEGUE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = re.compile(r"/(?:site|dist)-packages/([^/]+)")
_started_in = os.getcwd()


@dataclass(frozen=True)
class Place:
    """A line of a function. `package` is whose it is, if it isn't the program's own."""

    file: str
    line: int
    function: str
    package: str | None = None

    @property
    def source(self) -> str:
        """The line's text, "" if it can't be had."""
        try:
            return linecache.getline(self.file, self.line).strip()
        except Exception:  # a loader of the program's
            return ""

    def __str__(self) -> str:
        return f"{short(self.file)}:{self.line} {self.function}"

    def as_dict(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "function": self.function}

    def with_source(self) -> dict[str, Any]:
        return {**self.as_dict(), "source": self.source, "package": self.package}


def short(file: str) -> str:
    """As short as it is still found: from where the program was started, or as it is imported."""
    folders = (folder for folder in (_started_in, *sys.path) if isinstance(folder, str) and len(folder) > 1)
    starts = (os.path.join(folder, "") for folder in folders)
    return file[max((len(start) for start in starts if file.startswith(start)), default=0) :]


def library_of(file: str) -> str | None:
    """Whose the file is: "aiohttp", "asyncio"; None for the program's own."""
    known = _libraries.get(file, "")
    if known == "":
        if len(_libraries) > 10_000:
            _libraries.clear()
        known = _libraries[file] = _find_library(file)
    return known


_libraries: dict[str, str | None] = {}


def _find_library(file: str) -> str | None:
    if file.startswith(_SEGUE):
        return "segue"
    if file.startswith("<frozen "):
        return file.removeprefix("<frozen ").rstrip(">").partition(".")[0]
    if found := _INSTALLED.search(file):
        return found[1].removesuffix(".py")
    if file.startswith(_STDLIB):
        return file[len(_STDLIB) :].partition("/")[0].removesuffix(".py")
    return None


def place_of(frame: FrameType, line: int | None) -> Place:
    code = frame.f_code
    # For code in an archive, and code that is nowhere but in the module's loader.
    linecache.lazycache(code.co_filename, frame.f_globals)
    return Place(code.co_filename, line or 0, code.co_qualname, library_of(code.co_filename))


def depth(traceback: TracebackType | None) -> int:
    """How many frames it has."""
    count = 0
    while traceback is not None:
        traceback = traceback.tb_next
        count += 1
    return count


def of_traceback(traceback: TracebackType | None) -> list[Place]:
    """Outermost first. Of more than MOST_FRAMES the outer and the inner half are there."""
    found = []
    too_many = max(0, depth(traceback) - MOST_FRAMES)
    number = 0
    while traceback is not None:
        if not MOST_FRAMES // 2 <= number < MOST_FRAMES // 2 + too_many:
            found.append(place_of(traceback.tb_frame, traceback.tb_lineno))
        number += 1
        traceback = traceback.tb_next
    return found


def suspended_in(coroutine: object) -> Iterator[tuple[FrameType, object]]:
    """The frames of a suspended coroutine, outermost first, each with what it awaits.

    Not followed further than MOST_FRAMES: an awaitable of the program's may await itself.
    """
    at: Any = coroutine
    for _ in range(MOST_FRAMES):
        for frame_name, awaits in _AWAITS:
            frame = getattr(at, frame_name, None)
            if isinstance(frame, FrameType):
                at = getattr(at, awaits, None)
                yield frame, at
                break
        else:
            return


_AWAITS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


def of_coroutine(coroutine: object) -> list[Place]:
    """Where it is suspended: outermost first."""
    return [place_of(frame, frame.f_lineno) for frame, _ in suspended_in(coroutine)]


def own_line(places: Iterable[Place]) -> Place | None:
    """The innermost line of the program's own, else the outermost of all."""
    chosen = None
    for place in places:
        if chosen is None or place.package is None:
            chosen = place
    return chosen


def of_callers(frame: FrameType | None, until: object) -> list[Place]:
    """The frames that run, outermost first, up to the frame `until`."""
    found: list[Place] = []
    while frame is not None and len(found) < MOST_FRAMES:
        found.append(place_of(frame, frame.f_lineno))
        if frame is until:
            break
        frame = frame.f_back
    return found[::-1]
