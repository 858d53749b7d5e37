"""Where explanations are printed: at the end of a program or thread, and with what the loop reports.

Called by `segue run --explain` and by programs. Until then nothing of the process is changed. Python's own traceback is
printed where an explanation would say nothing more.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from . import failures, tasks
from .explanation import Explanation, explain
from .terminal import encodable, wants_color

_is_on = False


def explain_errors() -> None:
    """From now on, say more than a traceback when something fails and nobody handles it.

    What ends the program or a thread is printed as an explanation on standard error, and what the loop's default
    exception handler logs (exceptions that were never retrieved, failed callbacks) has one in place of its traceback.
    Where there is nothing more to say, Python's own traceback is printed. A hook or handler that the program has set
    stays in place, and is told instead.

    So that there is something to say, loops of Segue made from now on record who starts their tasks, and each task
    that fails is noted with what ran beside it: call it before the loop is made. On asyncio's own loop only what can
    be seen afterwards is told. A second call does nothing. `segue run --explain` calls it. With SEGUE_EXPLAIN=all in
    the environment, the frames of libraries are shown too.
    """
    global _is_on
    if _is_on:
        return
    _is_on = True
    tasks.record_starts()
    failures.start_noting()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _program_hook(sys.excepthook)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_hook(threading.excepthook)
    logging.getLogger("asyncio").addFilter(add_explanation)


def frames_shown() -> str:
    return "all" if os.environ.get("SEGUE_EXPLAIN") == "all" else "own"


def explanation_of(exc: BaseException | None) -> Explanation | None:
    """If it says more than a traceback; None as well if it can't be made, so that the traceback is shown."""
    if exc is None:
        return None
    try:
        found = explain(exc)
    except Exception:
        return None
    return found if found.says_more else None


def add_explanation(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass: formatters print `exc_text` if there is one."""
    if record.exc_info and not record.exc_text:
        found = explanation_of(record.exc_info[1])
        if found is not None:
            record.exc_text = found.text(frames=frames_shown())
            record.explanation = found
    return True


def print_explanation(found: Explanation, before: str = "") -> None:
    stream = sys.stderr
    if stream is None:  # the program was started without a standard error
        return
    text = before + found.text(color=wants_color(stream), frames=frames_shown())
    print(encodable(text, stream), file=stream, flush=True)


Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def _program_hook(before: Hook) -> Hook:
    def excepthook(kind: type[BaseException], exc: BaseException, traceback: TracebackType | None) -> None:
        found = explanation_of(exc)
        if found is None:
            before(kind, exc, traceback)
        else:
            print_explanation(found)

    return excepthook


def _thread_hook(before: Callable[[threading.ExceptHookArgs], Any]) -> Callable[[threading.ExceptHookArgs], Any]:
    def excepthook(args: threading.ExceptHookArgs) -> None:
        found = None if args.exc_type is SystemExit else explanation_of(args.exc_value)
        if found is None:
            before(args)
        else:
            name = args.thread.name if args.thread is not None else threading.get_ident()
            print_explanation(found, f"Exception in thread {name}:\n")

    return excepthook
