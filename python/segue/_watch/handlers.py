"""Who catches what is raised at an instruction: read from a code object's exception table, for `watch.py`."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from .code import source_of

EXCEPT, SUPPRESS, FINALLY, WITH = "except", "suppress", "finally", "with"

_CANCELLATIONS = {"CancelledError", "Cancelled", "BaseException", "get_cancelled_exc_class"}
_CLEANS_UP = {"COPY", "SWAP", "CALL_INTRINSIC_1", "CLEANUP_THROW", "POP_EXCEPT", "RERAISE"}
"""What the compiler's own handlers begin with: they undo something and raise again."""


@dataclass(frozen=True)
class Handler:
    """An `except`, `finally:` or `with` through which a cancellation passes, or where it ends."""

    kind: str
    line: int
    raises: bool
    """There is a bare `raise` in it."""


def handlers(code: CodeType, lasti: int) -> Iterator[Handler]:
    """What handles a cancellation raised at an instruction, the innermost first; not what is for other errors."""
    entries = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    instructions = list(dis.get_instructions(code))
    lines = list(code.co_lines())
    seen: set[int] = set()
    at = lasti
    while True:
        targets = [entry.target for entry in entries if entry.start <= at < entry.end]
        if not targets or targets[-1] in seen:
            return
        at = targets[-1]
        seen.add(at)
        found = _handler(code, [one for one in instructions if one.offset >= at], lines)
        if found is not None:
            yield found


def _handler(code: CodeType, rest: list[dis.Instruction], lines: list[tuple[int, int, int | None]]) -> Handler | None:
    if rest[0].opname in _CLEANS_UP or rest[0].opname != "PUSH_EXC_INFO":
        return None
    body = rest[1:]
    while body and body[0].opname in ("NOP", "COPY", "SWAP"):
        body = body[1:]
    if body and body[0].opname == "WITH_EXCEPT_START":
        line = _line(lines, body[0].offset)
        return Handler(SUPPRESS if "suppress" in source_of(code, line) else WITH, line, False)
    clauses = _clauses(body)
    if clauses:
        for clause, names in clauses:
            if names & _CANCELLATIONS:
                return Handler(EXCEPT, _line(lines, clause[0].offset), _raises(clause))
        return None
    line = _line(lines, body[0].offset)
    if source_of(code, line).startswith("except"):
        return Handler(EXCEPT, line, _raises(body))
    return Handler(FINALLY, line, False)


def _clauses(body: list[dis.Instruction]) -> list[tuple[list[dis.Instruction], set[str]]]:
    """The clauses `except NAMES:` of a `try`, each with what it names."""
    found: list[tuple[list[dis.Instruction], set[str]]] = []
    while body:
        names: set[str] = set()
        length = 0
        while length < len(body) and body[length].opname.startswith(_NAMING):
            names.add(str(body[length].argval))
            length += 1
        checks, jumps = body[length : length + 1], body[length + 1 : length + 2]
        if not checks or checks[0].opname not in ("CHECK_EXC_MATCH", "CHECK_EG_MATCH"):
            break
        # Where a group is matched, more is between the check and the jump.
        while jumps and "JUMP" not in jumps[0].opname:
            length += 1
            jumps = body[length + 1 : length + 2]
        if not jumps:
            break
        following = [one for one in body if one.offset >= int(jumps[0].argval)]
        found.append((body[: len(body) - len(following)], names))
        body = following
    return found


_NAMING = ("LOAD_", "BUILD_", "SWAP", "COPY", "PUSH_NULL", "PRECALL", "CALL", "EXTENDED_ARG", "CACHE")


def _raises(clause: list[dis.Instruction]) -> bool:
    for one in clause:
        if one.opname == "RAISE_VARARGS" and one.arg == 0:
            return True
        if one.opname == "RERAISE":
            break
    return False


def _line(lines: list[tuple[int, int, int | None]], offset: int) -> int:
    return next((line or 0 for start, end, line in lines if start <= offset < end), 0)
