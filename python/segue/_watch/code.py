"""Whose code it is, and what a line of it does with what it gets: read from frames and bytecode, for `watch.py`.

Nothing here runs unless a recording asks, and then only at the few moments that a warning is about.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

from .._explain.places import library_of

PROGRAM, LIBRARY, LOOP = "program", "library", "loop"

_RUNNERS = {"run", "run_until_complete", "run_forever", "_run_once"}


def owner(filename: str) -> str:
    """Whose code a file has, as the recording's places say it (crates/py/src/places.rs)."""
    library = library_of(filename)
    if library is None:
        return PROGRAM
    return LOOP if library in ("asyncio", "segue") or filename.startswith("<frozen ") else LIBRARY


def is_program(code: CodeType) -> bool:
    return owner(code.co_filename) is PROGRAM


def is_runner(code: CodeType) -> bool:
    """It runs the loop: what called it is no part of what the loop runs."""
    return owner(code.co_filename) is LOOP and code.co_name in _RUNNERS


def program_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the program's own code, from `frame` outward."""
    while frame is not None and not is_runner(frame.f_code):
        if is_program(frame.f_code):
            return frame
        frame = frame.f_back
    return None


def place(frame: FrameType) -> str:
    return place_of(frame.f_code, frame.f_lineno)


def place_of(code: CodeType, line: int | None) -> str:
    return f"{code.co_filename}:{line or 0} {code.co_qualname}"


def short(place: str) -> str:
    """ "app.py:12" of "/home/you/app.py:12 function", for texts."""
    path = place.rpartition(" ")[0] or place
    start = os.path.join(os.getcwd(), "")
    return path.removeprefix(start)


def source(frame: FrameType) -> str:
    """The text of the line that a frame is at, or ""."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals).strip()


def source_of(code: CodeType, line: int) -> str:
    return linecache.getline(code.co_filename, line).strip()


def awaits(coroutine: Any) -> Iterator[Any]:
    """A coroutine and the coroutines and generators that it awaits, the outermost first."""
    for _ in range(1000):
        for code, inner in (("cr_code", "cr_await"), ("gi_code", "gi_yieldfrom"), ("ag_code", "ag_await")):
            if hasattr(coroutine, code):
                yield coroutine
                coroutine = getattr(coroutine, inner)
                break
        else:
            return


def code_of(coroutine: Any) -> CodeType | None:
    for name in ("cr_code", "gi_code", "ag_code"):
        code = getattr(coroutine, name, None)
        if isinstance(code, CodeType):
            return code
    return None


def frame_of(coroutine: Any) -> FrameType | None:
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(coroutine, name, None)
        if isinstance(frame, FrameType):
            return frame
    return None


# --- What is done with a result -----------------------------------------------------------------------


def drops_result(frame: FrameType) -> bool:
    """Whether what the call or await at the frame's instruction gives is thrown away, or put into a name that is never
    read, or only counted.
    """
    after = _after(frame.f_code, frame.f_lasti)
    if after is None:
        return False
    if after.opname == "POP_TOP":
        return True
    if after.opname not in ("STORE_FAST", "STORE_NAME"):
        return False
    names = _names(after)
    instructions = [one for one in dis.get_instructions(frame.f_code) if one.opname not in ("PUSH_NULL", "CACHE")]
    for before, instruction in pairwise(instructions):
        is_counted = before.opname.startswith("LOAD_") and before.argval == "len"
        if instruction.opname.startswith(_READS) and _names(instruction) & names and not is_counted:
            return False
    return True


_READS = ("LOAD_FAST", "LOAD_NAME", "LOAD_CLOSURE", "LOAD_DEREF", "LOAD_GLOBAL", "DELETE_FAST")


def _names(instruction: dis.Instruction) -> set[Any]:
    value = instruction.argval
    return set(value) if isinstance(value, tuple) else {value}


_GOES_ON = {
    "SEND",
    "YIELD_VALUE",
    "RESUME",
    "JUMP_BACKWARD_NO_INTERRUPT",
    "JUMP_BACKWARD",
    "END_SEND",
    "CLEANUP_THROW",
    "NOP",
}
"""What is between a suspension and the use of its result."""


def _after(code: CodeType, lasti: int) -> dis.Instruction | None:
    """The instruction behind the call at `lasti` or, while a frame is suspended there, behind the await."""
    for instruction in dis.get_instructions(code):
        if instruction.offset > lasti and instruction.opname not in _GOES_ON:
            return instruction
    return None


# --- Which loop is left, which one goes round --------------------------------------------------------------


def _lines(code: CodeType) -> Iterator[tuple[int, int | None]]:
    """Each instruction's line."""
    for start, end, line in code.co_lines():
        for offset in range(start, end, 2):
            yield offset, line


def async_for_line(code: CodeType, lasti: int) -> int | None:
    """The line of the last `async for` that begins before an instruction."""
    found = None
    lines = dict(_lines(code))
    for instruction in dis.get_instructions(code):
        if instruction.offset > lasti:
            break
        if instruction.opname == "GET_AITER":
            found = lines.get(instruction.offset)
    return found


def loop_around(code: CodeType, lasti: int) -> str:
    """The innermost loop that an instruction is in: "for", "while", or "" if it is in none."""
    known = _loops.get((code, lasti))
    if known is None:
        if len(_loops) > 1000:
            _loops.clear()
        known = _loops[code, lasti] = _find_loop(code, lasti)
    return known


_loops: dict[tuple[CodeType, int], str] = {}


def _find_loop(code: CodeType, lasti: int) -> str:
    inner, kind = sys.maxsize, ""
    instructions = {one.offset: one for one in dis.get_instructions(code)}
    for one in instructions.values():
        if not one.opname.startswith(_JUMPS_BACK) or one.opname.endswith("NO_INTERRUPT"):
            continue
        begin, end = int(one.argval), one.offset
        if begin <= lasti <= end and end - begin < inner:
            begins_with = instructions[begin].opname
            inner, kind = end - begin, "for" if begins_with in ("FOR_ITER", "GET_ANEXT") else "while"
    return kind


_JUMPS_BACK = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")
