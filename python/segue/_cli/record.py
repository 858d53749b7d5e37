"""What `segue run --report` knows about a program's tasks: a record for each, made as they start and finish.

`start_recording(loop_class)` has the tasks of such loops recorded from then on; `collect()` gives the
records. Only text and numbers are kept, never the task or its exception, so that recording changes no
lifetime and no warning. `report.py` prints the records.
"""

from __future__ import annotations

import asyncio
import itertools
import linecache
import os
import sys
import sysconfig
import weakref
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Literal, TypedDict

# Records kept; what a program starts beyond that is only counted (about 500 bytes each).
MAX_RECORDS = 200_000


class TaskRecord(TypedDict):
    id: int
    parent: int | None
    name: str
    coroutine: str
    """The coroutine function's qualified name."""
    site: str
    """Where it was started: "file:line function"."""
    outcome: Literal["finished", "failed", "cancelled", "pending"]
    exception: str
    """"Type: message", "" unless failed."""
    ended: int
    """Its place in the order in which tasks ended, 0 while pending."""
    raised_at: str
    """The deepest line of the program's own code: "file:line function: source", "" unless failed."""


_records: list[TaskRecord] = []
_ids: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_next_id = itertools.count(1)
_next_end = itertools.count(1)
_not_recorded = 0


def collect() -> list[TaskRecord]:
    """Every task recorded so far, in the order in which they were started."""
    return sorted(_records, key=lambda record: record["id"])


def left_out() -> int:
    """How many tasks were started after the first MAX_RECORDS."""
    return _not_recorded


def start_recording(loop_class: type[asyncio.AbstractEventLoop]) -> None:
    """Record every task that a loop of this class starts from now on, however the program came by it."""
    create_task = loop_class.create_task

    def recorded_create_task(self: Any, coro: Any, **kwargs: Any) -> Any:
        site = _spawn_site(sys._getframe(1), self.is_running())
        parent = asyncio.current_task(self)
        parent_id = None if parent is None else _id_of(parent)
        task = create_task(self, coro, **kwargs)
        _record(task, parent_id, site)
        return task

    recorded_create_task.__name__ = "create_task"
    loop_class.create_task = recorded_create_task  # type: ignore[method-assign]


def _id_of(task: Any) -> int:
    # A task that starts eagerly can be a parent before its own create_task has returned.
    if task not in _ids:
        _ids[task] = next(_next_id)
    return _ids[task]


def _record(task: asyncio.Task[Any], parent_id: int | None, site: str) -> None:
    global _not_recorded
    if len(_records) >= MAX_RECORDS:
        _not_recorded += 1
        return
    coroutine = task.get_coro()
    if parent_id is None and _is_of_the_loop(getattr(getattr(coroutine, "cr_code", None), "co_filename", "")):
        return  # what asyncio.Runner does to shut the loop down, not a task of the program's
    record: TaskRecord = {
        "id": _id_of(task),
        "parent": parent_id,
        "name": task.get_name(),
        "coroutine": getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__,
        "site": site,
        "outcome": "pending",
        "exception": "",
        "ended": 0,
        "raised_at": "",
    }
    _records.append(record)

    def on_done(task: asyncio.Task[Any]) -> None:
        record["name"] = task.get_name()
        record["ended"] = next(_next_end)
        # `_exception`, not `exception()`: that would silence "exception was never retrieved".
        exception: BaseException | None = None if task.cancelled() else task._exception
        if task.cancelled():
            record["outcome"] = "cancelled"
        elif exception is None:
            record["outcome"] = "finished"
        else:
            record["outcome"] = "failed"
            record["exception"] = describe(exception)
            record["raised_at"] = _raised_at(exception.__traceback__)

    if task.done():  # it started eagerly and is through
        on_done(task)
    else:
        task.add_done_callback(on_done)


def describe(exception: BaseException) -> str:
    """The exception on one line, with the exceptions in it (a group's) or behind it (its cause)."""
    text = _type_and_message(exception)
    if isinstance(exception, BaseExceptionGroup):
        inside = list(itertools.islice(_leaves(exception), 4))
        text += ": " + "; ".join(
            [_type_and_message(leaf) for leaf in inside[:3]] + ["..."] * (len(inside) > 3)
        )
    if exception.__cause__ is not None:
        text += f" (caused by {_type_and_message(exception.__cause__)})"
    return text


def _type_and_message(exception: BaseException) -> str:
    kind = type(exception)
    plain = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = " ".join(str(exception).split())
    except Exception as error:
        message = f"<its str() failed: {type(error).__name__}>"
    return f"{name}: {message[:300]}" if message else name


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exception in group.exceptions:
        if isinstance(exception, BaseExceptionGroup):
            yield from _leaves(exception)
        else:
            yield exception


# --- Which line is the program's own --------------------------------------------------------------

_SEGUE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LOOP_DIRECTORIES = (os.path.dirname(asyncio.__file__) + os.sep, _SEGUE + os.sep)
_STDLIB = sysconfig.get_path("stdlib")
_LIBRARIES = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib", "stdlib"))
_RUNS_THE_LOOP = {"run", "run_until_complete", "run_forever", "_run_once"}


def _is_of_the_loop(filename: str) -> bool:
    return filename.startswith(_LOOP_DIRECTORIES) or filename.startswith("<frozen ")


def _is_the_programs(filename: str) -> bool:
    return not (
        _is_of_the_loop(filename)
        or f"{os.sep}site-packages{os.sep}" in filename
        or f"{os.sep}dist-packages{os.sep}" in filename
        or filename.startswith(_STDLIB + os.sep)
    )


def _spawn_site(frame: FrameType | None, loop_is_running: bool) -> str:
    """The nearest caller in the program's own code, else in a library; not past what runs the loop."""
    in_library: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if _is_the_programs(filename):
            return _place(filename, frame.f_lineno, frame.f_code.co_name)
        if _is_of_the_loop(filename):
            if loop_is_running and frame.f_code.co_name in _RUNS_THE_LOOP:
                break
        elif in_library is None:
            in_library = frame
        frame = frame.f_back
    if in_library is not None:
        return _place(in_library.f_code.co_filename, in_library.f_lineno, in_library.f_code.co_name)
    return "the event loop"


def _raised_at(traceback: TracebackType | None) -> str:
    deepest: TracebackType | None = None
    while traceback is not None:
        if deepest is None or _is_the_programs(traceback.tb_frame.f_code.co_filename):
            deepest = traceback
        traceback = traceback.tb_next
    if deepest is None:
        return "no line of Python code"
    code = deepest.tb_frame.f_code
    source = linecache.getline(code.co_filename, deepest.tb_lineno, deepest.tb_frame.f_globals).strip()
    place = _place(code.co_filename, deepest.tb_lineno, code.co_name)
    return f"{place}: {source}" if source else place


def _place(filename: str, line: int, function: str) -> str:
    """ "file:line function", the file as short as it's still found: from here, or as it's imported."""
    for start in (os.path.join(os.getcwd(), ""), *_LIBRARIES):
        if filename.startswith(start):
            filename = filename.removeprefix(start)
            break
    return f"{filename}:{line} {function}"
