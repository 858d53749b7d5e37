"""Explaining never raises and never grows without end, whatever hangs on an exception."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
import segue
from hypothesis import given, settings
from hypothesis import strategies as st
from segue._explain import failures
from segue.inspect import explain


class Hostile(Exception):
    """Every method that one could call is of no help, while `is_hostile`: the test's own reports need them."""

    is_hostile = False

    def __str__(self) -> str:
        if Hostile.is_hostile:
            raise SystemExit("from __str__")
        return "hostile"

    __repr__ = __str__

    def __getattribute__(self, name: str) -> Any:
        if Hostile.is_hostile:
            raise KeyboardInterrupt(name)
        return object.__getattribute__(self, name)


class HostileCancelled(asyncio.CancelledError):
    __str__ = Hostile.__str__
    __getattribute__ = Hostile.__getattribute__
    __dict__ = property(lambda self: 1 / 0)  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if Hostile.is_hostile and name in ("__module__", "__qualname__"):
            raise ValueError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Meta):
    pass


class OddText(str):
    def splitlines(self, keepends: bool = False) -> list[str]:
        raise ValueError

    def __format__(self, spec: str) -> str:
        raise ValueError


class SaysOdd(Exception):
    def __str__(self) -> str:
        return OddText("odd\x1b[2J\n\ud800")


class SaysNothing(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class OwnGroup(ExceptionGroup[Exception]):
    exceptions = property(lambda self: 1 / 0)  # type: ignore[assignment]
    message = property(lambda self: 1 / 0)  # type: ignore[assignment]


class BadNotes(Exception):
    __notes__ = property(lambda self: 1 / 0)  # type: ignore[assignment]


LEAVES = [
    lambda: Hostile(),
    lambda: HostileCancelled(),
    lambda: Nameless("x"),
    lambda: SaysOdd(),
    lambda: SaysNothing(),
    lambda: BadNotes(),
    lambda: ValueError("a" * 100_000),
    lambda: SyntaxError("bad", ("file", 1, 1, "a b", 1, 2)),
    lambda: SyntaxError(5),
    lambda: NameError("x", name=5),
    lambda: AttributeError("x", obj=Hostile(), name="y"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: KeyboardInterrupt(),
    lambda: asyncio.CancelledError(Hostile()),
    lambda: StopIteration(Hostile()),
    lambda: OSError(2, "No such file", "x"),
]


def raised(exc: BaseException, depth: int) -> BaseException:
    """With a traceback of that depth."""

    def down(left: int) -> None:
        if left:
            down(left - 1)
        raise exc

    try:
        down(depth)
    except BaseException as error:
        return error


@st.composite
def exceptions(draw: st.DrawFn) -> BaseException:
    """Graphs of exceptions: groups of groups, causes, contexts; with cycles, and with shared parts."""
    made: list[BaseException] = [draw(st.sampled_from(LEAVES))() for _ in range(draw(st.integers(1, 5)))]
    for _ in range(draw(st.integers(0, 8))):
        members = draw(st.lists(st.sampled_from(made), min_size=1, max_size=6))
        kind = draw(st.sampled_from([BaseExceptionGroup, BaseExceptionGroup, OwnGroup]))
        if kind is OwnGroup:
            members = [exc for exc in members if isinstance(exc, Exception)] or [ValueError()]
        made.append(kind(draw(st.text(max_size=20)), members))  # type: ignore[arg-type, type-var]
    setter = {
        "cause": BaseException.__dict__["__cause__"].__set__,
        "context": BaseException.__dict__["__context__"].__set__,
        "suppress": BaseException.__dict__["__suppress_context__"].__set__,
    }
    for exc in made:
        if draw(st.booleans()):
            raised(exc, draw(st.integers(0, 5)))
        for how in draw(st.lists(st.sampled_from(["cause", "context"]), max_size=2)):
            setter[how](exc, draw(st.sampled_from(made)))
        setter["suppress"](exc, draw(st.booleans()))
    return made[-1]


def check(exc: BaseException) -> str:
    Hostile.is_hostile = True
    try:
        found = explain(exc)
    finally:
        Hostile.is_hostile = False
    for color in (False, True):
        for frames in ("own", "all"):
            found.text(color=color, frames=frames)
    text = str(found)
    json.loads(json.dumps(found.as_dict()))
    assert text
    assert all(line.isprintable() for line in text.split("\n")), repr(text)
    return text


@settings(max_examples=300, deadline=None)
@given(exceptions())
def test_any_exception(exc: BaseException) -> None:
    assert len(check(exc).splitlines()) < 20_000


@settings(max_examples=50, deadline=None)
@given(exceptions())
def test_any_exception_of_tasks_that_are_noted(exc: BaseException) -> None:
    async def fail(exc: BaseException) -> None:
        raise exc

    async def pass_on(exc: BaseException) -> None:
        await asyncio.create_task(fail(exc))

    async def main() -> None:
        tasks = [asyncio.create_task(function(exc)) for function in (fail, pass_on)]
        await asyncio.wait(tasks)

    if isinstance(exc, (StopIteration, KeyboardInterrupt)):
        exc = BaseExceptionGroup("a group", [exc])
    failures.start_noting()
    try:
        segue.run(main())
    finally:
        failures.stop_noting()
    assert not isinstance(exc, BaseExceptionGroup) or "in task 'Task-" in check(exc)


def test_groups_in_groups_without_end() -> None:
    exc: Exception = ValueError("at the bottom")
    for level in range(50_000):
        exc = ExceptionGroup(f"level {level}", [exc])
    text = check(exc)
    assert "(1 error in it)" in text and len(text.splitlines()) < 100
    while isinstance(exc, ExceptionGroup):  # taken apart by hand: the interpreter itself would go too deep
        exc = exc.exceptions[0]


def test_groups_that_share_their_parts() -> None:
    exc: Exception = ValueError("the only one")
    for _ in range(60):
        exc = ExceptionGroup("twice the same", [exc, exc])
    assert f"({2**60:,} errors in it)" in check(exc).splitlines()[0]


def test_causes_without_end_and_in_a_circle() -> None:
    first = exc = ValueError("0")
    for number in range(1, 5000):
        exc.__cause__ = ValueError(str(number))
        exc = exc.__cause__
    assert len(check(first).splitlines()) < 100
    first.__cause__.__cause__ = first  # type: ignore[union-attr]
    assert len(check(first).splitlines()) < 10


def test_a_recursion_without_end() -> None:
    def down() -> None:
        down()

    with pytest.raises(RecursionError) as info:
        down()
    text = check(info.value)
    assert len(text.splitlines()) < 60 and "times more ..." in text


def test_all_alike_and_all_different() -> None:
    def fail(number: int) -> Exception:
        return raised(ValueError(f"number {number}"), 0)  # type: ignore[return-value]

    alike = check(ExceptionGroup("many", [fail(number) for number in range(1000)]))
    assert "└─ 1,000 × ValueError: number 0" in alike and "number 1; number 2; ..." in alike
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(1000)]
    different = check(ExceptionGroup("many", [kind() for kind in kinds]))
    assert "└─ ... and 950 more" in different


def test_a_note_on_an_exception_travels_without_its_tasks() -> None:
    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> BaseException | None:
        task = asyncio.create_task(fail(), name="failing")
        await asyncio.wait([task])
        return task.exception()

    failures.start_noting()
    try:
        exc = segue.run(main())
    finally:
        failures.stop_noting()
    assert exc is not None and "in task 'failing'" in str(explain(exc))
    assert "in task" not in str(explain(pickle.loads(pickle.dumps(exc))))
    assert repr(copy.copy(exc)) == repr(exc)


def test_an_exception_that_is_raised_again_and_again_does_not_grow() -> None:
    always = LookupError("one object")

    async def fail() -> None:
        raise always

    async def main() -> None:
        for _ in range(300):
            await asyncio.wait([asyncio.create_task(fail())])

    failures.start_noting()
    try:
        segue.run(main())
    finally:
        failures.stop_noting()
    assert len(failures.failures_of(always)) <= failures.MOST_NOTES
    check(always)
