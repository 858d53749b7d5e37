"""Random programs for `model.Runtime`: trees of nurseries, scopes, shields, deadlines, failures and cancellations.

They become source text, so that a failing one can be read and run, and so that every suspension has a place of its own.
All durations differ, and so do their sums: no two things happen at the same time unless one caused the other.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from hypothesis import strategies as st
from model import Runtime

SLEEPS = ("segue.sleep", "asyncio.sleep", "future", "event")
if sys.version_info >= (3, 12):
    # Before, it waits once more while it is being cancelled, where a second cancellation takes the first one's place.
    SLEEPS += ("wait_for",)
END = 1000.0
FOREVER = 5000
"""Longer than any program; but a program comes to its end that waits behind a shield."""

_small = st.integers(0, 9)
_leaves = st.one_of(
    st.tuples(st.just("sleep"), st.sampled_from(SLEEPS), st.integers(0, 5)),
    st.tuples(st.just("sleep"), st.sampled_from(SLEEPS), st.integers(0, 5)),
    st.tuples(st.just("forever")),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("cancel"), _small, st.integers(0, 3)),
    st.tuples(st.just("shield"), _small, st.booleans(), st.integers(0, 3)),
    st.tuples(st.just("move"), _small, st.integers(0, 4), st.integers(0, 3)),
    st.tuples(st.just("raise"), st.integers(0, 3)),
    st.tuples(st.just("cancel task"), _small, st.integers(0, 3)),
)
_HANDLERS = ("finally:", "except Cancelled:", "except Cancelled: again", "except KeyError:", "except* KeyError:")


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    body = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.just("scope"), st.none() | st.integers(0, 5), st.booleans(), body),
        st.tuples(st.just("nursery"), st.lists(body, max_size=3), st.lists(inner, max_size=3)),
        st.tuples(st.just("nursery"), st.lists(body, min_size=1, max_size=3), st.lists(inner, max_size=3)),
        st.tuples(st.just("start"), _small, body),
        st.tuples(st.just("try"), body, st.sampled_from(_HANDLERS), body),
    )


statements = st.lists(st.recursive(_leaves, _compound, max_leaves=30), min_size=1, max_size=5)


class Program:
    """The source text of a program: `task_0` is its main function."""

    def __init__(self, body: list[Any]) -> None:
        self.functions: list[str] = []
        self.durations = _durations()
        self.scopes = _count(body, ("scope", "nursery"))
        self.count_tasks = 1 + _count_tasks(body)
        self.next_scope = self.next_line = self.next_task = 0
        self.enclosing_nurseries: list[int] = []
        self.function(body)
        self.source = "\n\n".join(self.functions)

    def function(self, body: list[Any]) -> int:
        number = self.next_task
        self.next_task += 1
        at = len(self.functions)
        self.functions.append("")
        self.functions[at] = "\n".join([f"async def task_{number}():", *self.block(body)])
        return number

    def block(self, body: list[Any]) -> list[str]:
        lines = [
            line for statement in body for line in getattr(self, "on_" + statement[0].replace(" ", "_"))(*statement[1:])
        ]
        return ["    " + line for line in lines or ["pass"]]

    def seconds(self, whole: int) -> str:
        return f"{whole + next(self.durations):.6f}"

    def pause(self, whole: int) -> str:
        return f"await rt.pause({self.seconds(whole)})"

    def on_sleep(self, kind: str, whole: int) -> list[str]:
        self.next_line += 1
        return [f"await rt.sleep({self.next_line}, {kind!r}, {self.seconds(whole)})"]

    def on_forever(self) -> list[str]:
        self.next_line += 1
        return [f"await rt.sleep({self.next_line}, 'forever', {self.seconds(FOREVER)})"]

    def on_checkpoint(self) -> list[str]:
        self.next_line += 1
        return [f"await rt.sleep({self.next_line}, 'checkpoint', 0)"]

    def on_cancel(self, scope: int, whole: int) -> list[str]:
        return [self.pause(whole), f"rt.cancel({scope % max(1, self.scopes)})"]

    def on_shield(self, scope: int, value: bool, whole: int) -> list[str]:
        return [self.pause(whole), f"rt.shield({scope % max(1, self.scopes)}, {value})"]

    def on_move(self, scope: int, seconds: int, whole: int) -> list[str]:
        return [self.pause(whole), f"rt.move({scope % max(1, self.scopes)}, {self.seconds(seconds)})"]

    def on_raise(self, whole: int) -> list[str]:
        self.next_line += 1
        return [self.pause(whole), f"raise KeyError({self.next_line})"]

    def on_cancel_task(self, task: int, whole: int) -> list[str]:
        return [self.pause(whole), f"rt.cancel_task({task % self.count_tasks})"]

    def on_scope(self, deadline: int | None, shield: bool, body: list[Any]) -> list[str]:
        number = self.next_scope
        self.next_scope += 1
        seconds = "None" if deadline is None else self.seconds(deadline)
        return [f"with scope(rt, {number}, {seconds}, {shield}):", *self.block(body)]

    def on_nursery(self, children: list[Any], body: list[Any]) -> list[str]:
        number = self.next_scope
        self.next_scope += 1
        self.enclosing_nurseries.append(number)
        tasks = [self.function(child) for child in children]
        inside = [f"    rt.start({number}, {task}, task_{task})" for task in tasks] + self.block(body)
        self.enclosing_nurseries.pop()
        return [f"async with nursery(rt, {number}):", *inside]

    def on_start(self, up: int, body: list[Any]) -> list[str]:
        """A task in any of the nurseries around, which are open as long as this code runs."""
        if not self.enclosing_nurseries:
            return self.on_checkpoint()
        depth = 1 + up % len(self.enclosing_nurseries)
        around = self.enclosing_nurseries
        number, self.enclosing_nurseries = around[-depth], around[: len(around) - depth + 1]
        task = self.function(body)
        self.enclosing_nurseries = around
        return [f"rt.start({number}, {task}, task_{task})"]

    def on_try(self, body: list[Any], handler: str, then: list[Any]) -> list[str]:
        kind, _, again = handler.partition(" again")
        lines = ["try:", *self.block(body), kind, *self.block(then)]
        return [*lines, "    raise"] if handler != kind else lines

    def run(self, rt: Runtime) -> Any:
        """The coroutine that runs the program in `rt` and notes what came out of it."""
        names: dict[str, Any] = {"rt": rt, "scope": scope, "nursery": nursery, "Cancelled": rt.Cancelled}
        exec(compile(self.source, "<program>", "exec"), names)

        async def main() -> None:
            try:
                with scope(rt, -1, END, False):
                    await rt.run_task(0, names["task_0"])
            except BaseException as exc:
                rt.note("program", rt.shape(exc))
            else:
                rt.note("program", "returned")

        return main()


class scope:
    """A scope of the runtime, that notes what it came to."""

    def __init__(self, rt: Any, number: int, deadline: float | None, shield: bool) -> None:
        self.rt, self.number = rt, number
        self.inner = rt.scopes[number] = rt.make_scope(deadline, shield)

    def __enter__(self) -> None:
        self.inner.__enter__()
        self.rt.entered.add(self.number)

    def __exit__(self, *exc: Any) -> Any:
        try:
            return self.inner.__exit__(*exc)
        finally:
            self.left()

    def left(self) -> None:
        self.rt.left.add(self.number)
        self.rt.note(f"scope {self.number}", self.inner.cancel_called, self.inner.cancelled_caught)


class nursery(scope):
    def __init__(self, rt: Any, number: int) -> None:
        self.rt, self.number = rt, number
        self.block = rt.make_nursery()

    async def __aenter__(self) -> None:
        opened = self.rt.nurseries[self.number] = await self.block.__aenter__()
        self.inner = self.rt.scopes[self.number] = opened.cancel_scope
        self.rt.entered.add(self.number)

    async def __aexit__(self, *exc: Any) -> Any:
        try:
            return await self.block.__aexit__(*exc)
        finally:
            self.left()


def _durations() -> Any:
    """Fractions of which no two subsets have the same sum: of the square roots of primes."""
    number = 2
    while True:
        if all(number % i for i in range(2, math.isqrt(number) + 1)):
            yield math.sqrt(number) % 1
        number += 1


def _parts(statement: Any) -> list[Any]:
    """The statements in a statement."""
    match statement:
        case ("scope", _, _, body) | ("start", _, body):
            return list(body)
        case ("nursery", children, body):
            return [inner for child in children for inner in child] + list(body)
        case ("try", body, _, then):
            return list(body) + list(then)
    return []


def _count(body: list[Any], kinds: tuple[str, ...]) -> int:
    return sum((s[0] in kinds) + _count(_parts(s), kinds) for s in body)


def _count_tasks(body: list[Any]) -> int:
    own = sum(len(children) for _, children, _ in (s for s in body if s[0] == "nursery"))
    return own + sum((s[0] == "start") + _count_tasks(_parts(s)) for s in body)
