"""What a call came to: a value or an exception, to be carried to another thread or task.

The same in form as the `outcome` package's classes, which Trio uses; `lowlevel.reschedule` takes either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NoReturn, ParamSpec, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


class Value(Generic[T_co]):
    """A call that returned `value`."""

    __slots__ = ("value",)

    def __init__(self, value: T_co) -> None:
        self.value = value

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value

    def __repr__(self) -> str:
        return f"Value({self.value!r})"


class Error:
    """A call that raised `error`."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def unwrap(self) -> NoReturn:
        """Raise the exception."""
        error = self.error
        try:
            raise error
        finally:
            del error, self  # no cycle of exception and frame

    def __repr__(self) -> str:
        return f"Error({self.error!r})"


def capture(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Value[T] | Error:
    """Call `function(*args, **kwargs)`; whatever it raises becomes an Error."""
    try:
        return Value(function(*args, **kwargs))
    except BaseException as exc:
        if exc.__traceback__ is not None:
            exc.__traceback__ = exc.__traceback__.tb_next  # this frame tells nobody anything
        return Error(exc)
