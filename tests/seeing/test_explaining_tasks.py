"""`segue.inspect.explain` of tasks, on asyncio's loop and on Segue's; and of exceptions without anything noted."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import segue
from conftest import Programs
from segue.inspect import Explanation, explain

Run = Callable[[Any], Any]


async def consume(queue: asyncio.Queue[int]) -> int:
    return await queue.get()


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_where_a_task_waits(run: Run) -> None:
    async def main() -> Explanation:
        task = asyncio.create_task(consume(asyncio.Queue()), name="consumer")
        await turns()
        found = explain(task)
        await end(task)
        return found

    found = run(main())
    assert found.task.state == "waiting" and found.task.what == "Queue.get"
    assert found.task.task.name == "consumer" and found.task.task.coroutine == "consume"
    assert found.task.call_stack[0].source == "return await queue.get()"
    lines = found.text().splitlines()
    assert lines[0] == "task 'consumer' (consume) waits for Queue.get"
    assert lines[1].endswith("consume: return await queue.get()")
    assert json.loads(json.dumps(found.as_dict()))["task"]["place"]["function"] == "consume"


def test_what_it_waits_for_down_to_the_last(run: Run) -> None:
    async def wait_for(task: asyncio.Task[Any]) -> Any:
        return await task

    async def main() -> tuple[Explanation, Explanation]:
        last = asyncio.create_task(consume(asyncio.Queue()), name="last")
        middle = asyncio.create_task(wait_for(last), name="middle")
        first = asyncio.create_task(wait_for(middle), name="first")
        await turns(5)
        found = explain(first), explain(last)
        await end(first, middle, last)
        return found

    down, up = run(main())
    assert [wait.task.name for wait in down.task.waits_for] == ["middle", "last"]
    assert [wait.what for wait in down.task.waits_for] == ["task 'last'", "Queue.get"]
    assert "which 'last' (consume) waits for Queue.get at " in down.text()
    assert [wait.task.name for wait in up.task.awaited_by] == ["middle"]
    assert "awaited by task 'middle'" in up.text()


def test_tasks_that_wait_for_each_other_in_a_circle(programs: Programs) -> None:
    """In a program of its own: such tasks can't even be cancelled, each passes it on to the other."""
    said = programs.python(
        """
        import asyncio, os, segue, sys
        from segue.inspect import explain

        tasks = []

        async def wait_for(number):
            await asyncio.sleep(0)
            await tasks[number]

        async def main():
            tasks.append(asyncio.create_task(wait_for(1), name="one"))
            tasks.append(asyncio.create_task(wait_for(0), name="two"))
            for _ in range(5):
                await asyncio.sleep(0)
            print(explain(tasks[0]), flush=True)
            os._exit(0)

        segue.run(main())
        """
    )
    assert said.out.splitlines()[:5] == [
        "task 'one' (wait_for) waits for task 'two'",
        "  app.py:8 wait_for: await tasks[number]",
        "  which 'two' (wait_for) waits for task 'one' at app.py:8 wait_for: await tasks[number]",
        "  which 'one' (wait_for) waits for task 'two' at app.py:8 wait_for: await tasks[number]",
        "  they wait for each other in a circle: none will ever go on",
    ]


@pytest.mark.parametrize("how", ["gather", "TaskGroup", "wait", "shield"])
def test_who_awaits_it_through_asyncios_own_ways(run: Run, how: str) -> None:
    async def collect() -> None:
        if how == "gather":
            await asyncio.gather(consume(asyncio.Queue()), consume(asyncio.Queue()))
        elif how == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                group.create_task(consume(asyncio.Queue()))
                group.create_task(consume(asyncio.Queue()))
        else:
            one = asyncio.ensure_future(consume(asyncio.Queue()))
            await (asyncio.wait([one]) if how == "wait" else asyncio.shield(one))

    async def main() -> tuple[Explanation, Explanation]:
        collecting = asyncio.create_task(collect(), name="collecting")
        await turns()
        (one, *_) = (task for task in asyncio.all_tasks() if "consume" in repr(task.get_coro()))
        found = explain(one), explain(collecting)
        await end(collecting, one)
        return found

    inside, outside = run(main())
    assert [wait.task.name for wait in inside.task.awaited_by] == ["collecting"]
    if how in ("gather", "TaskGroup"):
        assert inside.task.group.kind == how and inside.task.group.owner.name == "collecting"
        assert [(alike.count, alike.coroutine, alike.what) for alike in inside.task.group.others] == [
            (1, "consume", "Queue.get")
        ]
        assert inside.task.started_by[0].task.name == "collecting"
    if how == "gather":
        assert outside.task.what == "gather: 2 of 2"


def test_thousands_beside_it_are_counted(run: Run) -> None:
    async def main() -> Explanation:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(consume(asyncio.Queue()), name=f"consumer {n}") for n in range(2000)]
            await turns()
            found = explain(tasks[0])
            for task in tasks:
                task.cancel()
        return found

    found = run(main())
    assert "1,999 × 'consumer 1', 'consumer 2', 'consumer 3', 'consumer 4' and 1,995 more" in found.text()


def test_debug_mode_says_where_it_was_started(run: Run) -> None:
    async def main() -> Explanation:
        asyncio.get_running_loop().set_debug(True)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(consume(asyncio.Queue()), name="consumer")
            await turns()
            found = explain(task)
            task.cancel()
        return found

    found = run(main())
    place = found.task.started_by[0].place
    assert place.source == 'task = group.create_task(consume(asyncio.Queue()), name="consumer")'


def test_who_is_not_known_is_said_to_be_not_known(run: Run) -> None:
    async def main() -> str:
        task = asyncio.create_task(consume(asyncio.Queue()))
        await turns()
        text = explain(task).text()
        await end(task)
        return text

    assert "explain_errors()" in run(main()).splitlines()[-1]


def test_the_current_task_and_those_that_have_ended(run: Run) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> list[Explanation]:
        current = asyncio.current_task()
        assert current is not None
        failed = asyncio.create_task(fail(), name="failed")
        cancelled = asyncio.create_task(consume(asyncio.Queue()), name="cancelled")
        ready = asyncio.create_task(turns(100), name="ready")
        finished = asyncio.create_task(turns(0), name="finished")
        await asyncio.sleep(0)
        cancelled.cancel("enough")
        await asyncio.wait([failed, cancelled, finished])
        found = [explain(task) for task in (current, failed, cancelled, ready, finished)]
        failed.exception()
        await ready
        return found

    current, failed, cancelled, ready, finished = run(main())
    assert [found.task.state for found in (current, failed, cancelled, ready, finished)] == [
        "running",
        "failed",
        "cancelled",
        "ready",
        "finished",
    ]
    assert current.task.call_stack[0].function.endswith("main")
    assert failed.error.type == "LookupError" and failed.error.call_chain[0].task.name == "failed"
    assert "LookupError: gone" in failed.text() and "in task 'failed'" in failed.text()
    assert ready.text().splitlines()[0].endswith("is ready")


def test_who_cancelled_a_task() -> None:
    async def main() -> Explanation:
        task = asyncio.create_task(consume(asyncio.Queue()), name="consumer")
        await turns()
        task.cancel("no more work")
        await asyncio.wait([task])
        return explain(task)

    found = segue.run(main())
    assert found.task is not None and found.task.cancelled is not None
    assert (found.task.cancelled.source, found.task.cancelled.reason) == ("Task.cancel", "no more work")
    assert "cancelled by Task.cancel (no more work), task 'Task-" in found.text()


def test_explaining_leaves_a_cancellation_to_whom_it_is_for(run: Run) -> None:
    async def main() -> BaseException:
        task = asyncio.create_task(consume(asyncio.Queue()), name="consumer")
        await turns()
        task.cancel("enough")
        await asyncio.wait([task])
        assert "is cancelled" in str(explain(task))
        try:
            return await task  # type: ignore[return-value]
        except asyncio.CancelledError as exc:
            return exc

    exc = run(main())
    functions = [frame.function for frame in explain(exc).error.call_chain[0].frames]  # type: ignore[union-attr]
    assert "consume" in functions


def test_explaining_retrieves_nothing(run: Run) -> None:
    """asyncio still says that nobody has asked for the exception."""
    said: list[str] = []

    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["message"]))
        task = asyncio.create_task(fail())
        await turns()
        explain(task)
        del task
        gc.collect()

    run(main())
    assert said == ["Task exception was never retrieved"]


def test_an_explanation_keeps_nothing_alive(run: Run) -> None:
    class Large:
        pass

    async def fail() -> None:
        large = Large()
        references.append(weakref.ref(large))
        raise LookupError("gone")

    references: list[Any] = []

    async def main() -> Any:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        references.append(weakref.ref(task))
        found = explain(task), explain(task.exception())  # type: ignore[arg-type]
        return found

    found = run(main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert "fail" in str(found[0]) and "fail" in str(found[1])


def test_a_nursery_and_its_waits() -> None:
    async def main() -> Explanation:
        lock = segue.Lock()
        await lock.acquire()
        async with segue.open_nursery() as nursery:
            nursery.start_soon(lock.acquire, name="locking")
            nursery.start_soon(segue.sleep_forever, name="sleeping")
            await turns()
            (task,) = (task for task in nursery.child_tasks if task.get_name() == "locking")
            found = explain(task)
            nursery.cancel_scope.cancel()
        return found

    found = segue.run(main())
    assert found.task is not None and found.task.what == "lock.acquire()"
    assert found.task.group is not None and found.task.group.kind == "nursery"
    assert [alike.names for alike in found.task.group.others] == [("sleeping",)]
    assert found.task.started_by[0].task == found.task.group.owner


def test_what_cannot_be_explained(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="only exceptions and tasks can be explained, not int"):
            explain(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a future that has not failed"):
            explain(asyncio.get_running_loop().create_future())

    run(main())


def test_the_task_of_an_exception_can_be_given(run: Run) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> Explanation:
        task = asyncio.create_task(fail(), name="failing")
        await asyncio.wait([task])
        exc = task.exception()
        assert exc is not None
        assert not explain(exc).says_more
        return explain(exc, task=task)

    found = run(main())
    first, second = found.text().splitlines()[:2]
    assert found.says_more and first == "LookupError: gone" and second.startswith("  in task 'failing' (")
