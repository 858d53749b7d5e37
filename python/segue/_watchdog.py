"""Debug mode's report of the line that blocks the loop, made while it blocks. Called by the core's reader thread."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback

# Not asyncio's logger: programs count what asyncio logs. But a program that silences asyncio's reports of slow
# callbacks means this one too.
logger = logging.getLogger("segue")
asyncios_logger = logging.getLogger("asyncio")


def report_blocking_line(thread: int, seconds: float, what: str) -> None:
    """Log where the thread `thread` is, which has run `what` for `seconds`."""
    frame = sys._current_frames().get(thread)
    if frame is None or not asyncios_logger.isEnabledFor(logging.WARNING):
        return
    stack = traceback.extract_stack(frame)
    # What called the callback (runners, the loop) tells nothing about what blocks.
    machinery = (asyncio.__path__[0], __file__.rpartition("/")[0] + "/_")
    mine = [entry for entry in stack if not entry.filename.startswith(machinery)] or stack
    at = stack[-1]
    logger.warning(
        "%s has blocked the event loop for %.3f seconds so far, at %s:%s in %s\n%s",
        what or "A callback",
        seconds,
        at.filename,
        at.lineno,
        at.name,
        "".join(traceback.format_list(mine)).rstrip(),
    )
