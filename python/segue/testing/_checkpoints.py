"""Checks that code does or doesn't execute a checkpoint.

Semantics: https://trio.readthedocs.io/en/stable/reference-testing.html#trio.testing.assert_checkpoints
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._lowlevel import current_task


def _points(task: Any) -> tuple[int, int]:
    return task._cancel_points, task._schedule_points


@contextmanager
def assert_checkpoints() -> Iterator[None]:
    """A `with` block that raises AssertionError if it ends without an exception and without a checkpoint in it.

    A checkpoint is where the task may be cancelled and where others may run.
    """
    __tracebackhide__ = True
    task = current_task()
    cancel, schedule = _points(task)
    yield
    now = _points(task)
    if now[0] == cancel or now[1] == schedule:
        raise AssertionError("assert_checkpoints block did not yield!")


@contextmanager
def assert_no_checkpoints() -> Iterator[None]:
    """A `with` block that raises AssertionError if a checkpoint, or half of one, was executed in it."""
    __tracebackhide__ = True
    task = current_task()
    before = _points(task)
    try:
        yield
    finally:
        if _points(task) != before:
            raise AssertionError("assert_no_checkpoints block yielded!")
