"""Log records as lines for people, or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

from .._explain.explanation import Explanation, explain
from .._explain.reporting import frames_shown
from .._explain.terminal import wants_color
from .._explain.words import printable, repr_of
from .fields import OWN, add_fields

_STYLES = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "explanation", *OWN}


def explanation_for(record: logging.LogRecord) -> Explanation | None:
    """Of its exception. A record that went through `Handler` brings it along, since its exception is gone by then."""
    found = getattr(record, "explanation", None)
    if isinstance(found, Explanation):
        return found
    exc = record.exc_info[1] if record.exc_info else None
    if exc is None:
        return None
    try:
        return explain(exc)
    except Exception:  # the traceback is still there
        return None


class Formatter(logging.Formatter):
    """One line for each record, in words or as JSON, with the task that logged it.

    `style="text"`: time, level, task, logger and message; exceptions as `segue.inspect.explain` has them where that
    says more than Python's traceback. Further lines of a message are indented, so that nobody can forge a line, and
    control characters are escaped.

    `style="json"`: an object with `ts` (UTC, ISO 8601), `level`, `logger`, `message`, `task`, `task_id`, `nursery`,
    `place`, and where there are any `exception` (as `Explanation.as_dict()["error"]`), `stack` and `extra`, the
    program's own fields. What isn't JSON is given as its `repr()`.

    `color="auto"` decides by standard error: coloured on a terminal, unless NO_COLOR is set; FORCE_COLOR colours
    always.
    """

    def __init__(
        self,
        style: Literal["text", "json"] = "text",
        *,
        color: bool | Literal["auto"] = "auto",
        datefmt: str | None = None,
    ) -> None:
        super().__init__(datefmt=datefmt)
        if style not in ("text", "json"):
            raise ValueError(f"style is 'text' or 'json', not {style!r}")
        self.is_json = style == "json"
        self.color = wants_color(sys.stderr) if color == "auto" else color

    def format(self, record: logging.LogRecord) -> str:
        """The record's text; the record itself is left as it is, but for the task's fields."""
        add_fields(record)
        return self._json(record) if self.is_json else self._text(record)

    # ---- text ----

    def _text(self, record: logging.LogRecord) -> str:
        task: Any = record.__dict__["task"]
        level = self._paint(_STYLES.get(record.levelno // 10 * 10, "1"), f"{record.levelname:<8}")
        named = "" if task == "-" else self._paint("36", f"[{printable(str(task))}]") + " "
        # splitlines() would also split at what is a line end nowhere but in Unicode; that is escaped.
        first, *more = record.getMessage().replace("\r\n", "\n").split("\n")
        lines = [f"{self._time(record)} {level} {named}{printable(record.name)}: {printable(first)}"]
        lines += ["    " + printable(line) for line in more]
        if exception := self._exception(record):
            lines += ["    " + line for line in exception.split("\n")]
        if record.stack_info:
            lines += ["    " + printable(line) for line in self.formatStack(record.stack_info).split("\n")]
        return "\n".join(lines)

    def _exception(self, record: logging.LogRecord) -> str:
        found = explanation_for(record)
        if found is not None and found.says_more:
            return found.text(color=self.color, frames=frames_shown())
        text = record.exc_text
        if not text and record.exc_info:
            text = self.formatException(record.exc_info)
        return "\n".join(printable(line) for line in text.split("\n")) if text else ""

    def _time(self, record: logging.LogRecord) -> str:
        if self.datefmt is not None:
            return self.formatTime(record, self.datefmt)
        return time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03}"

    def _paint(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.color else text

    # ---- JSON ----

    def _json(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        whole, _, part = f"{record.created:.6f}".partition(".")
        task = fields["task"]
        found: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(whole))) + f".{part}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "task": None if task == "-" else task,
            "task_id": fields["task_id"] or None,
            "nursery": None if fields["nursery"] == "-" else fields["nursery"],
            "place": {"file": record.pathname, "line": record.lineno, "function": record.funcName},
        }
        explanation = explanation_for(record)
        if explanation is not None:
            found["exception"] = explanation.as_dict()["error"]
        if record.stack_info:
            found["stack"] = record.stack_info
        extra = {name: value for name, value in fields.items() if name not in _STANDARD}
        if extra:
            found["extra"] = extra
        try:
            return _dump(found)
        except Exception:
            return _dump({name: _as_json(value) for name, value in found.items()})


def _dump(value: Any) -> str:
    # In ASCII: any stream can write that, half a surrogate pair included.
    return json.dumps(value, default=repr_of, allow_nan=False)


def _as_json(value: Any) -> Any:
    """The value, if it can be JSON; of a dict what can be; else its repr."""
    try:
        _dump(value)
    except Exception:
        if type(value) is dict and all(isinstance(key, str) for key in value):
            return {key: _as_json(member) for key, member in value.items()}
        return repr_of(value)
    return value
