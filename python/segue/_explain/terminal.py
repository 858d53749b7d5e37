"""Writing text to a stream that may be a terminal, a file or a pipe: with or without colour, in any encoding."""

from __future__ import annotations

import os
import sys
from typing import Any

_IN_ASCII = str.maketrans({"×": "x", "├": "|", "─": "-", "└": "`", "│": "|"})


def wants_color(stream: Any) -> bool:
    """As CPython decides it for tracebacks: PYTHON_COLORS, NO_COLOR, FORCE_COLOR, TERM=dumb; else on terminals."""
    if not sys.flags.ignore_environment:
        if os.environ.get("PYTHON_COLORS") in ("0", "1"):
            return os.environ["PYTHON_COLORS"] == "1"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("TERM") == "dumb":
        return False
    try:
        return bool(stream.isatty())
    except Exception:  # closed, or no file at all
        return False


def encodable(text: str, stream: Any) -> str:
    """The text as the stream can write it: with escapes for what its encoding doesn't have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeError:
        text = text.translate(_IN_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        pass
    return text
