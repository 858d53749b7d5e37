"""The running frames, as the recorder reads them: the same as Python's API tells, whatever runs."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import greenlet
import pytest
from frames import Checks, check_running, names
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent


def varied() -> int:
    """Calls `check_running` out of every kind of code that there is; returns how often."""
    seen: list[list[str]] = []

    def check(*_: Any) -> bool:
        seen.append(names(check_running()))
        return True

    class Called:
        made = check()

        def __init__(self) -> None:
            check()

        def __call__(self) -> bool:
            return check()

        def __lt__(self, other: object) -> bool:
            return check()

        def __del__(self) -> None:
            check()

        def __enter__(self) -> None:
            check()

        def __exit__(self, *_: object) -> None:
            check()

        @property
        def attribute(self) -> bool:
            return check()

        @staticmethod
        def with_cells(a: int, b: int) -> Callable[[], int]:
            check()
            return lambda: a + b + check()

    def generator() -> Generator[int]:
        for i in range(3):
            check()
            yield i
        yield from (check() for _ in range(2))

    def recursive(depth: int) -> bool:
        return recursive(depth - 1) if depth else check()

    # Often enough for the interpreter to specialise (making an instance, with a frame of its own) and instrument.
    for _ in range(40):
        with Called() as _:
            check()
        called = Called()
        called()
        assert called.attribute
        Called.with_cells(1, 2)()
    sorted([Called(), Called(), Called()])
    list(map(check, range(3)))
    list(generator())
    assert [check() for _ in range(2)] == [True, True]
    assert {check(): check() for _ in range(2)}
    max([1, 2], key=check)
    exec("check()\nclass Body:\n    check()\n", {"check": check})
    eval("check() and (lambda: check())()", {"check": check})
    recursive(100)
    try:
        check() and 1 / 0
    except ZeroDivisionError:
        check()
    finally:
        check()
    del called
    assert any("recursive" in frames for frames in seen)
    assert all(frames[0] == "check" for frames in seen)
    return len(seen)


def test_whatever_runs() -> None:
    assert varied() > 200


def test_the_innermost_comes_first_and_the_lines_are_right() -> None:
    def inner() -> list[tuple[CodeType, int, int]]:
        return check_running()  # here

    here = inner.__code__.co_firstlineno + 1
    frames = inner()
    assert names(frames)[:2] == ["inner", test_the_innermost_comes_first_and_the_lines_are_right.__name__]
    assert frames[0][2] == here
    assert frames[1][2] == here + 3


def test_in_another_thread() -> None:
    results: list[Any] = []

    def run() -> None:
        results.append(names(check_running()))
        results.append(varied())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results[0][0] == "run"
    assert test_in_another_thread.__name__ not in results[0]
    assert results[1] > 200


@pytest.mark.parametrize("how", ["settrace", "setprofile"])
def test_while_traced(how: str) -> None:
    checks = Checks()
    calls = 0

    def trace(*_: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            checks()
        return trace

    before = sys.gettrace(), sys.getprofile()
    getattr(sys, how)(trace)
    try:
        assert varied() > 200
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    checks.assert_right()


if sys.version_info >= (3, 12):  # before, nothing instruments code

    @pytest.mark.parametrize("event", ["LINE", "INSTRUCTION", "PY_START", "PY_RESUME", "PY_YIELD", "CALL", "BRANCH"])
    def test_in_instrumented_code(event: str) -> None:
        monitoring: Any = sys.monitoring
        checks = Checks()
        calls = 0

        def on_event(*_: Any) -> None:
            nonlocal calls
            calls += 1
            if calls % 11 == 0:
                checks()

        tool = 4
        monitoring.use_tool_id(tool, "segue's tests")
        try:
            number = getattr(monitoring.events, event)
            monitoring.register_callback(tool, number, on_event)
            monitoring.set_events(tool, number)
            assert varied() > 200
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
        checks.assert_right()
        assert varied() > 200


def test_out_of_the_collector_amid_anything() -> None:
    """The collector runs where a frame is still making its cells or its generator, which Python's API doesn't show."""
    checks = Checks()

    def on_collection(phase: str, _: object) -> None:
        if phase == "start":
            checks()

    def with_cells(a: int, b: int) -> Callable[[], int]:
        return lambda: a + b

    def generator() -> Iterator[int]:
        yield 1

    async def coroutine() -> None:
        pass

    before = gc.get_threshold()
    gc.callbacks.append(on_collection)
    gc.set_threshold(1, 10_000, 10_000)
    try:
        for _ in range(50):
            kept: list[Any] = [with_cells(1, 2)() for _ in range(3)]
            kept.append([generator(), generator(), {}, [], ()])
            coroutine().close()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(on_collection)
    checks.assert_right()


def test_in_greenlets() -> None:
    seen: list[str] = []

    def body() -> None:
        for _ in range(3):
            seen.extend(names(check_running())[:2])
            main.switch()

    def other(depth: int) -> None:
        if depth:
            return other(depth - 1)
        check_running()
        main.switch()
        check_running()
        varied()

    main = greenlet.getcurrent()
    first, second = greenlet.greenlet(body), greenlet.greenlet(other)
    first.switch()
    second.switch(20)
    for _ in range(2):
        first.switch()
        check_running()
    second.switch()
    assert seen == ["body"] * 3 or seen[::2] == ["body"] * 3
    assert second.dead
    assert varied() > 200


SHAPES = st.recursive(
    st.just("call"),
    lambda inner: st.tuples(
        st.sampled_from(["call", "generator", "sort", "init", "exec", "thread", "comprehension"]), inner
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_any_nesting(shape: Any) -> None:
    """Functions, generators, classes, C functions and threads that call each other in any order."""
    done = []

    def go(shape: Any) -> None:
        if shape == "call":
            check_running()
            done.append(True)
            return
        kind, rest = shape
        if kind == "call":
            go(rest)
        elif kind == "generator":

            def generator() -> Iterator[None]:
                yield go(rest)

            list(generator())
        elif kind == "sort":
            [1].sort(key=lambda _: go(rest) or 0)
        elif kind == "init":

            class Made:
                def __init__(self) -> None:
                    go(rest)

            for _ in range(3 if rest == "call" else 1):
                Made()
        elif kind == "exec":
            exec("go(rest)", {"go": go, "rest": rest})
        elif kind == "comprehension":
            assert [go(rest) for _ in range(1)] == [None]
        else:
            thread = threading.Thread(target=go, args=(rest,))
            thread.start()
            thread.join()
        check_running()

    go(shape)
    assert done


@pytest.mark.parametrize("replaced", ["before", "after"])
def test_with_a_replaced_frame_evaluation(replaced: str) -> None:
    """As debuggers and compilers do it: whether it was there when Segue looked at frames, or came afterwards."""
    program = HERE / "replaced_evaluation.py"
    done = subprocess.run([sys.executable, str(program), replaced], capture_output=True, text=True, cwd=HERE)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stdout + done.stderr
