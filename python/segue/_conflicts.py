"""Finding out that two tasks do what only one may do at a time."""

from __future__ import annotations

from types import TracebackType

from ._errors import BusyResourceError


class ConflictDetector:
    """`with detector:` raises BusyResourceError, with `message`, while another task is in such a block."""

    __slots__ = ("_message", "_taken")

    def __init__(self, message: str) -> None:
        self._message = message
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise BusyResourceError(self._message)
        self._taken = True

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._taken = False
