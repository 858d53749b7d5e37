"""Logging that says which task it was and never holds up the loop, on top of the standard library's `logging`.

`setup()` does all of it for a program. Its parts can be used alone: `TaskFilter` adds the task's name to records,
`Handler` writes in a thread of its own, `Formatter` writes lines for people or JSON.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Literal, TextIO

from ._explain.terminal import wants_color
from ._log.fields import TaskFilter
from ._log.format import Formatter
from ._log.handler import Handler

__all__ = ["Formatter", "Handler", "TaskFilter", "setup"]

_installed: Handler | None = None


def setup(
    level: int | str = logging.INFO,
    *,
    json: bool = False,
    color: bool | Literal["auto"] = "auto",
    file: str | os.PathLike[str] | TextIO | None = None,
    capacity: int = 10_000,
) -> Handler:
    """Set up logging for the whole program: a `Handler` with a `Formatter` on the root logger.

    `file` is a path, to which is appended, or an open text file; None is standard error. With `json` every record is
    one line of JSON. `color="auto"` colours on a terminal only, as NO_COLOR and FORCE_COLOR say. `capacity` is how many
    records may wait to be written (see `Handler`). Returns the handler. A second call replaces what the first one has
    set up; handlers that others have added stay.
    """
    global _installed
    target: logging.StreamHandler[Any]
    if isinstance(file, (str, os.PathLike)):
        target = logging.FileHandler(file, encoding="utf-8")
    else:
        target = logging.StreamHandler(file)
    colored = wants_color(target.stream) if color == "auto" else color
    target.setFormatter(Formatter("json" if json else "text", color=colored))
    handler = Handler(target, capacity)
    root = logging.getLogger()
    if _installed is not None:
        root.removeHandler(_installed)
        _installed.close()
    root.addHandler(handler)
    root.setLevel(level)
    _installed = handler
    return handler
