"""Tasks that are started and have not begun: they are only notes in the ready queue, and nobody can tell.

Each case runs once with functions of which notes are made and once with what is made into a task at once, a partial.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import segue

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Noting:
    """Notes what its methods were called with."""

    def __init__(self) -> None:
        self.called: list[tuple[object, ...]] = []

    async def method(self, *args: object) -> None:
        self.called.append(args)


@pytest.fixture(params=["noted", "made at once"])
def wrap(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """What is given to `start_soon`: the function itself, or a partial of it."""
    return (lambda function: function) if request.param == "noted" else functools.partial


async def test_tasks_begin_in_the_order_in_which_they_were_started(wrap: Callable[..., Any]) -> None:
    begun: list[object] = []

    async def child(number: int) -> None:
        begun.append(number)

    async with segue.open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(wrap(child), i)
            asyncio.get_running_loop().call_soon(begun.append, f"callback {i}")
        assert begun == []
    assert begun == [x for i in range(5) for x in (i, f"callback {i}")]


async def test_started_tasks_are_seen_before_they_begin(wrap: Callable[..., Any]) -> None:
    ran: list[object] = []

    async def child() -> None:
        ran.append(asyncio.current_task())

    async with segue.open_nursery() as nursery:
        nursery.start_soon(wrap(child))
        (seen,) = nursery.child_tasks
        assert seen in asyncio.all_tasks()
        nursery.start_soon(wrap(child), name="the second")
        (other,) = asyncio.all_tasks() - {seen, asyncio.current_task()}
        assert nursery.child_tasks == {seen, other}
        assert other.get_name() == "the second"
        assert seen.get_name().endswith("child")
        assert not ran
    assert ran == [seen, other]
    assert nursery.child_tasks == frozenset()


async def test_all_tasks_alone_shows_started_tasks(wrap: Callable[..., Any]) -> None:
    async with segue.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wrap(segue.sleep), 0)
        assert len(asyncio.all_tasks()) == 4
    assert len(asyncio.all_tasks()) == 1


async def test_a_started_task_can_be_cancelled_before_it_begins(wrap: Callable[..., Any]) -> None:
    noting = Noting()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(wrap(noting.method), "cancelled")
        (task,) = nursery.child_tasks
        assert task.cancel()
        nursery.start_soon(wrap(noting.method), "runs")
    assert noting.called == [("runs",)]
    assert task.cancelled()


async def test_a_cancelled_scope_lets_started_tasks_run_to_their_first_suspension(wrap: Callable[..., Any]) -> None:
    ran: list[str] = []

    async def child() -> None:
        ran.append("begun")
        await segue.sleep(0)
        ran.append("not reached")

    async with segue.open_nursery() as nursery:
        nursery.start_soon(wrap(child))
        nursery.cancel_scope.cancel()
        nursery.start_soon(wrap(child))
    assert ran == ["begun", "begun"]
    assert nursery.cancel_scope.cancelled_caught


async def test_a_task_has_the_variables_of_when_it_was_started(wrap: Callable[..., Any]) -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())
        variable.set("the child's own")
        await segue.sleep(0)
        seen.append(variable.get())

    async with segue.open_nursery() as nursery:
        variable.set("first")
        nursery.start_soon(wrap(child))
        nursery.start_soon(wrap(child))
        variable.set("second")
        nursery.start_soon(wrap(child))
        variable.set("third")
    assert seen == ["first", "first", "second"] + ["the child's own"] * 3
    assert variable.get() == "third"


@pytest.mark.parametrize(
    ("source", "args"),
    [
        ("async def f(a): ...", ()),
        ("async def f(a): ...", (1, 2)),
        ("async def f(a, b=1): ...", (1, 2, 3)),
        ("async def f(*, key): ...", ()),
        ("async def f(a, /, b): ...", (1,)),
        ("async def f(self): ...\nclass C: m = f\nf = C().m", (1,)),
    ],
)
async def test_wrong_arguments_are_refused_at_once(source: str, args: tuple[object, ...]) -> None:
    names: dict[str, Any] = {}
    exec(source, names)
    async with segue.open_nursery() as nursery:
        with pytest.raises(TypeError, match=r"argument|positional"):
            nursery.start_soon(names["f"], *args)
        assert nursery.child_tasks == frozenset()


async def test_all_kinds_of_parameters() -> None:
    got: list[object] = []

    async def simple(a: int, b: int = 2) -> None:
        got.append((a, b))

    async def several(a: int, *more: int, key: str = "default", **others: object) -> None:
        got.append((a, more, key, others))

    class Class:
        async def method(self, a: int) -> None:
            got.append((type(self).__name__, a))

        @classmethod
        async def of_class(cls, a: int) -> None:
            got.append((cls.__name__, a))

        @staticmethod
        async def static(a: int) -> None:
            got.append(a)

    async with segue.open_nursery() as nursery:
        nursery.start_soon(simple, 1)
        nursery.start_soon(simple, 1, 3)
        nursery.start_soon(several, 1)
        nursery.start_soon(several, 1, 2, 3)
        nursery.start_soon(Class().method, 1)
        nursery.start_soon(Class.of_class, 1)
        nursery.start_soon(Class.static, 1)
        for _ in range(10):  # more functions than are remembered
            namespace: dict[str, Any] = {"got": got}
            exec("async def made(a): got.append(a)", namespace)
            nursery.start_soon(namespace["made"], 7)
    assert got == [
        (1, 2), (1, 3), (1, (), "default", {}), (1, (2, 3), "default", {}), ("Class", 1), ("Class", 1), 1, *[7] * 10
    ]  # fmt: skip


async def test_nothing_else_is_taken_for_an_async_function() -> None:
    async def generator() -> Any:
        yield

    async with segue.open_nursery() as nursery:
        with pytest.raises(TypeError, match="async generator"):
            nursery.start_soon(generator)
        with pytest.raises(TypeError, match="synchronous"):
            nursery.start_soon(lambda: None)
        nursery.start_soon(lambda: segue.sleep(0))


async def test_starting_to_start_and_being_handed_over(wrap: Callable[..., Any]) -> None:
    """`start()` moves what the task has started in its caller's nursery meanwhile... and nothing is lost."""
    noting = Noting()

    async def service(*, task_status: segue.TaskStatus[str]) -> None:
        async with segue.open_nursery() as inner:
            inner.start_soon(wrap(noting.method), "inner")
            task_status.started("up")
            inner.start_soon(wrap(noting.method), "later")

    async with segue.open_nursery() as nursery:
        assert await nursery.start(service) == "up"
    assert noting.called == [("inner",), ("later",)]


async def test_what_a_started_task_holds_goes_with_it(wrap: Callable[..., Any]) -> None:
    class Argument:
        pass

    async def child(argument: Argument) -> None:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(wrap(child), argument)
        del argument
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None


async def test_failing_children_are_as_any_others(wrap: Callable[..., Any]) -> None:
    async def fail(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ExceptionGroup) as caught:
        async with segue.open_nursery() as nursery:
            for i in range(3):
                nursery.start_soon(wrap(fail), i)
    assert [exc.args for exc in caught.value.exceptions] == [(0,), (1,), (2,)]


async def test_instruments_hear_of_started_tasks_at_once() -> None:
    heard: list[str] = []

    class Instrument(segue.abc.Instrument):
        def task_spawned(self, task: Any) -> None:
            heard.append(task.get_name())

    instrument = Instrument()
    segue.lowlevel.add_instrument(instrument)
    try:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep, 0, name="heard of")
            assert heard == ["heard of"]
    finally:
        segue.lowlevel.remove_instrument(instrument)


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )


@pytest.mark.parametrize("wrapper", ["lambda function: function", "functools.partial"])
def test_closing_a_loop_says_what_never_ran(wrapper: str) -> None:
    done = run_python(f"""
        import asyncio, functools, gc, segue

        wrap = {wrapper}

        async def never():
            print("ran")

        async def main():
            async with segue.open_nursery() as nursery:
                nursery.start_soon(wrap(never))
                asyncio.get_running_loop().stop()
                await asyncio.sleep(10)

        loop = segue.new_event_loop()
        task = loop.create_task(main())
        try:
            loop.run_until_complete(task)
        except RuntimeError as exc:
            print(exc)
        loop.close()
        del task, loop
        gc.collect()
    """)
    assert done.stdout == "Event loop stopped before Future completed.\n"
    assert "coroutine 'never' was never awaited" in done.stderr
    assert "Task was destroyed but it is pending!\n" in done.stderr
    assert "task: <Task pending name='__main__.never'" in done.stderr


@pytest.mark.parametrize("wrapper", ["lambda function: function", "functools.partial"])
def test_what_was_started_last_is_cancelled_with_the_runner(wrapper: str) -> None:
    done = run_python(f"""
        import asyncio, functools, segue

        wrap = {wrapper}

        async def child():
            print("asyncio's tasks don't run either if they are cancelled before they begin")

        async def detached():
            global nursery
            async with segue.open_nursery() as nursery:
                await asyncio.sleep(10)

        async def main():
            task = asyncio.create_task(detached())
            await asyncio.sleep(0)
            # In the turn after which the loop stops.
            asyncio.get_running_loop().call_soon(nursery.start_soon, wrap(child))
            return task

        print("cancelled" if segue.run(main()).cancelled() else "not cancelled")
    """)
    assert (done.stdout, done.stderr) == ("cancelled\n", "")


def test_a_forgotten_loop_goes_with_its_notes() -> None:
    done = run_python("""
        import asyncio, gc, warnings, weakref, segue
        warnings.simplefilter("ignore")

        class Argument: pass

        async def never(argument):
            raise SystemExit("ran")

        def forget():
            argument = Argument()
            loop = segue.new_event_loop()

            async def main():
                nursery = await segue.open_nursery().__aenter__()
                nursery.start_soon(never, argument)
                loop.stop()
                await asyncio.Event().wait()

            task = loop.create_task(main())
            task._log_destroy_pending = False
            loop.run_forever()
            return weakref.ref(argument)

        gone = forget()
        for _ in range(3):
            gc.collect()
        print(gone())
        print(len(asyncio.all_tasks(segue.new_event_loop())))
    """)
    assert done.stdout.split() == ["None", "0"], done.stderr
