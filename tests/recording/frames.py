"""What the tests of frames ask: whether reading the interpreter's own frames tells the same as Python's API."""

from __future__ import annotations

from types import CodeType
from typing import Any

from segue import _core

# Of each frame its code, `f_lasti` and line.
Frames = list[tuple[CodeType, int, int]]


def read(coroutine: Any = None) -> Frames:
    """The running frames, or those of a coroutine and of what it awaits."""
    found = _core._frames(coroutine)
    assert found is not None, "this interpreter's frames look different from all that Segue knows"
    return found


def names(frames: Frames) -> list[str]:
    return [code.co_name for code, _, _ in frames]


def check_running() -> Frames:
    """The running frames from the caller on; both ways must tell the same of them."""
    found, asked = _core._frames(), _core._frames(through_api=True)
    assert found is not None and asked is not None
    # The innermost is this function, whose two calls are at two instructions.
    assert names(found)[0] == names(asked)[0] == "check_running"
    assert found[1:] == asked[1:]
    return found[1:]


def check_suspended(coroutine: Any) -> Frames:
    frames = read(coroutine)
    assert frames == _core._frames(coroutine, through_api=True)
    return frames


class Checks:
    """For callbacks that nobody hears fail: counts, and keeps what went wrong."""

    def __init__(self) -> None:
        self.count = 0
        self.wrong: list[BaseException] = []

    def __call__(self, *_: Any) -> None:
        self.count += 1
        try:
            check_running()
        except BaseException as e:
            self.wrong.append(e)

    def assert_right(self) -> None:
        assert self.count and not self.wrong, (self.count, self.wrong[:1])
