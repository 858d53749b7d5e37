"""What blocks the loop: the line that its thread is at, and blocking calls, as audit events name them. For `watch.py`.

`crates/py/src/recording/blocking.rs` decides that something blocks, and asks here where and what it is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import sys
from inspect import CO_COROUTINE
from types import CodeType, FrameType
from typing import Any

from .. import _core
from .code import LOOP, is_program, is_runner, owner, place, program_frame, short, source
from .codes import BLOCKING_CALL

_SHORTEST_SLEEP = 0.01
_OPENS_FOR_ITS_CALLER = re.compile(
    r"/(pathlib(/\w+)?|io|_pyio|codecs|tempfile|shutil|gzip|bz2|lzma|zipfile(/\w+)?|tarfile|configparser|fileinput)\.py$"
)
_WAITS_FOR_A_PROCESS = {"run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}
_CALLERS = 3
_OFTEN = 20
"""A blocking call at one place is told so often."""


def blocks(thread: int, code: int, computes: bool) -> tuple[int, str, str]:
    """The loop's thread has been busy with one thing for long: the code (0: nothing is wrong), place and words for it.

    `computes`: it uses the processor, and doesn't wait in a call. Not called on that thread.
    """
    innermost = sys._current_frames().get(thread)
    if innermost is None or _imports(innermost):
        return 0, "", ""  # an import: once, and mostly before anybody waits
    frame = program_frame(innermost)
    if frame is None and not computes:
        return 0, "", ""  # nothing of the program's is in it: the loop waits for its threads when it ends
    frame = frame or innermost
    through = _called_from(frame, innermost)
    frame = _in_its_body(frame)
    line = source(frame)
    if not computes and re.search(r"\bsleep\(", line):
        # From 3.13 on an audit event has told it.
        return (0, "", "") if sys.version_info >= (3, 13) else (BLOCKING_CALL, place(frame), line)
    text = ("" if computes else "waiting in ") + f"`{line}`" if line else ""
    text += f", in {through}" if through else ""
    callers = _callers(frame)
    text += f", called at {', from '.join(callers)}" if callers else ""
    return code, place(frame), text.removeprefix(", ")


def _called_from(frame: FrameType, innermost: FrameType) -> str:
    """The library's function that a frame has called, if it is in one."""
    called = None
    at: FrameType | None = innermost
    while at is not None and at is not frame:
        if owner(at.f_code.co_filename) is not LOOP:
            called = at
        at = at.f_back
    return called.f_code.co_qualname if called is not None and at is frame else ""


def _in_its_body(frame: FrameType) -> FrameType:
    """A function that has just been called is at its `def`: then its caller's line says more."""
    code = frame.f_code
    is_long = any(line is not None and line > code.co_firstlineno for _, _, line in code.co_lines())
    caller = program_frame(frame.f_back)
    return caller if caller is not None and is_long and frame.f_lineno == code.co_firstlineno else frame


def _callers(frame: FrameType) -> list[str]:
    """Where the program called what a frame is in: up to the coroutine, a recursion counting once."""
    found: list[str] = []
    code = frame.f_code
    while not code.co_flags & CO_COROUTINE and len(found) < _CALLERS:
        caller = program_frame(frame.f_back)
        if caller is None:
            break
        if caller.f_code is not code:
            found.append(short(place(caller)))
        frame, code = caller, caller.f_code
    return found


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not is_runner(frame.f_code):
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


class BlockingCalls:
    """Which of the audited calls are the program's, and worth a warning."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], int] = {}

    def audited(self, event: str, args: tuple[Any, ...]) -> None:
        """A call that may block, on the loop's thread, while something of the program runs on it."""
        what = _what(event, args)
        if what is None:
            return
        frame: FrameType | None = sys._getframe(2)
        through: list[CodeType] = []
        while frame is not None and not is_program(frame.f_code):
            through.append(frame.f_code)
            if owner(frame.f_code.co_filename) is LOOP or is_runner(frame.f_code):
                return  # the loop's own business, or an import
            frame = frame.f_back
        if frame is None or not _is_told(event, through):
            return
        where = place(frame)
        times = self._told.get((event, where), 0)
        if times >= _OFTEN or (event == "open" and not _somebody_else_runs()):
            return
        self._told[event, where] = times + 1
        _core._tell_warning(BLOCKING_CALL, where, None, what, 0)


def _what(event: str, args: tuple[Any, ...]) -> str | None:
    """A call in words, or None if it doesn't block for long."""
    if event == "time.sleep":
        return f"time.sleep({args[0]!r})" if args[0] >= _SHORTEST_SLEEP else None
    if event == "open":
        path = args[0]
        if not isinstance(path, (str, bytes)) or str(path).lstrip("b'").startswith(("/dev/", "/proc/", "/sys/")):
            return None
        return f"open({path!r})"
    if event == "socket.connect":
        sock, address = args
        return f"socket.connect({address!r}) on a blocking socket" if sock.gettimeout() != 0 else None
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
        return None if _is_numeric(host) else f"{event}({host!r}), which asks the DNS"
    if event == "subprocess.Popen":
        return f"subprocess.Popen({args[1]!r})"
    if event == "os.system":
        return f"os.system({args[0]!r})"
    return None


def _is_numeric(host: Any) -> bool:
    if host is None or host in ("", b"", "localhost"):
        return True
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_told(event: str, through: list[CodeType]) -> bool:
    """Whether it is the program that calls it, given the libraries that it goes through."""
    if event == "open":
        return all(_OPENS_FOR_ITS_CALLER.search(code.co_filename) for code in through)
    if event == "subprocess.Popen":
        return any(code.co_name in _WAITS_FOR_A_PROCESS for code in through)
    return True


def _somebody_else_runs() -> bool:
    return len(asyncio.all_tasks()) > 1
