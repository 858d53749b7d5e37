"""A running program as what the page shows: its questions go through the program's socket (`_cli/attach.py`).

The program records as long as somebody is connected, so that it is closed when `segue view` ends.
"""

from __future__ import annotations

import json
import threading

from segue._cli import attach

from .server import Over


class RunningProgram:
    """Asked by the server's threads, one at a time. Raises `attach.Unreachable` if it can't be reached."""

    def __init__(self, pid: int) -> None:
        self._program = attach.connect(pid)
        self._one_at_a_time = threading.Lock()
        self._directory = self._program.ask("program").get("directory")

    def answer(self, question: str, arguments: str = "{}") -> str:
        given = json.loads(arguments)
        if question in ("cancel", "stack"):
            # The page only shows: whoever has its address changes nothing.
            raise LookupError(f"the page doesn't ask for {question!r}")
        with self._one_at_a_time:
            try:
                answer = self._program.ask(question, **given)
            except attach.Refused as refused:
                raise LookupError(str(refused)) from None
            except attach.Unreachable as why:
                raise Over(str(why)) from None
            if question == "summary":
                answer["blocked"] = attach.blocked_lines(self._program, self._directory)
                answer["notes"] = attach.notes(self._program)
        return json.dumps(answer)

    def export(self, format: str, arguments: str = "{}") -> bytes:
        raise LookupError(
            "a running program is not exported: segue run --record FILE makes a recording, "
            "and segue export FILE exports it"
        )

    def close(self) -> None:
        self._program.close()
