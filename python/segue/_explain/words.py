"""Texts of the program's objects, for explanations. Nothing here raises, whatever `__str__` and `__repr__` do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LENGTH = 2_000
"""How much is kept of one text, in characters."""


def safely(function: Callable[[], Any], otherwise: str) -> str:
    """What `function` returns, as a plain string that is not too long; `otherwise` if it can't be had.

    As `traceback` does, this stops at nothing: what a `__str__` raises is not the error that is to be explained.
    """
    try:
        text = function()
        text = str.__str__(text) if isinstance(text, str) else str(text)
    except BaseException as error:
        return f"<{otherwise}: {type.__dict__['__name__'].__get__(type(error))}>"
    return text if len(text) <= LENGTH else text[:LENGTH] + "..."


def is_a(value: object, *kinds: type) -> bool:
    """`isinstance` that asks the object nothing: its `__class__` may raise."""
    return issubclass(type(value), kinds)


def text_of(value: object) -> str:
    return safely(lambda: str(value), "its str() failed")


def repr_of(value: object) -> str:
    return safely(lambda: repr(value), "its repr() failed")


def type_name(kind: type) -> str:
    """As tracebacks have it: with its module, unless that says nothing."""

    def name() -> str:
        module = kind.__module__
        return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"

    return safely(name, "type without a name")


def one_line(text: str) -> str:
    return " ".join(text.split())


def printable(text: str) -> str:
    """With escapes for what a terminal would act on: names and messages may come from anywhere."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(names: list[str], total: int, most: int = 4) -> str:
    """'a', 'b', 'c' and 9,997 more."""
    shown = ", ".join(f"'{one_line(name)}'" for name in names[:most])
    more = total - min(len(names), most)
    return f"{shown} and {more:,} more" if more else shown
