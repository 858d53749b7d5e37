# ruff: noqa: E501  (a table)
"""asyncio, anyio, aiohttp and Segue's scopes in one program: who owns a task, who cancels it, who catches what.

| in a Segue scope or nursery | who owns it | when the scope is cancelled | what comes out |
|---|---|---|---|
| `asyncio.create_task(f())` | nobody: no scope, no nursery, whoever calls it | goes on; its own scopes are its own | its failure stays in the task |
| `await task` | | the task awaited is cancelled by `Task.cancel`, as in asyncio | Cancelled, which the scope catches |
| `await asyncio.shield(x)` | nobody | the waiting ends at once, `x` goes on | Cancelled |
| `asyncio.TaskGroup` | the group | the body and all its tasks are cancelled, the block waits for them | Cancelled; failures as the group's ExceptionGroup |
| `asyncio.timeout` | | passes it on; a timeout that expires is its own | Cancelled, or TimeoutError |
| `asyncio.gather`, `wait_for` | the call | everything in it is cancelled | Cancelled; if one fails, gather's others go on, as in asyncio |
| asyncio's queues, locks, streams | | waiting ends, nothing is lost | Cancelled |
| `run_in_executor` | the thread | the waiting ends, the thread goes on | Cancelled |
| aiohttp, redis, asyncpg | the library | the request is cancelled and its connection is closed or usable | Cancelled |

| around a Segue scope or nursery | when it cancels | who catches |
|---|---|---|
| `asyncio.timeout`, `TaskGroup` | `Task.cancel` on the task in the scope; a nursery cancels its children | never Segue's scope: the timeout or the group |
| anyio's scope or task group | the same | never Segue's scope: anyio's |

| anyio and Segue nested, either way round | |
|---|---|
| one of them is cancelled | it catches its own; the other sees it pass |
| both are cancelled | the inner one's end passes it on, or the next suspension is cancelled again: the outer one catches |
| `shield` | keeps out scopes of its own library only: Segue's shield doesn't stop anyio, nor the other way round |
| a task of anyio's task group | in anyio's scopes, not in Segue's around the `start_soon`; when Segue cancels the block, the group cancels it |
| a nursery's task | in the nursery's scope, not in anyio's around it; when anyio cancels the block, the nursery cancels it |
| a failure in the inner group | a group in the outer one's group; the outer one's other tasks are cancelled |
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import segue
from stepping import turns


class Waiting:
    """Something that waits for ever and tells how that ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = ""

    async def __call__(self) -> None:
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as exc:
            info = segue.cancellation(exc)
            self.ended = "by nobody known" if info is None else info.source
            raise


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def cancelling_after_a_task_group() -> int:
    """Before 3.13 a TaskGroup that has cancelled its own task does not take that back."""
    return cancelling() if sys.version_info >= (3, 13) else 0


# ---- asyncio in Segue ------------------------------------------------------------------------------------------------


async def test_create_task_is_in_no_scope_and_in_no_nursery() -> None:
    waiting = Waiting()
    async with segue.open_nursery() as nursery:
        task: Any = asyncio.create_task(waiting())
        await waiting.began.wait()
        nursery.cancel_scope.cancel()
        await turns()
        assert not task.done() and not nursery.child_tasks
        assert task.parent_nursery is None
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert waiting.ended == "Task.cancel"


async def test_create_task_inside_a_scope_isnt_cancelled_but_awaiting_it_is_and_that_cancels_it() -> None:
    """As everywhere in asyncio: who awaits a task directly and is cancelled cancels the task."""
    waiting = Waiting()
    task = asyncio.create_task(waiting())
    await waiting.began.wait()
    with segue.move_on_after(0.01) as scope:
        await task
    assert scope.cancelled_caught and task.cancelled()
    assert waiting.ended == "Task.cancel"


async def test_a_scope_opened_in_a_created_task_is_its_own() -> None:
    inner = segue.CancelScope()

    async def child() -> str:
        with inner:
            await segue.sleep_forever()
        return "went on"

    with segue.CancelScope() as outer:
        task = asyncio.create_task(child())
        await turns()
        outer.cancel()
    await turns()
    assert not task.done()
    inner.cancel()
    assert await task == "went on"


async def test_a_created_task_can_start_tasks_in_a_nursery() -> None:
    waiting = Waiting()
    async with segue.open_nursery() as nursery:

        async def starter() -> None:
            nursery.start_soon(waiting)

        await asyncio.create_task(starter())
        await waiting.began.wait()
        nursery.cancel_scope.cancel()
    assert waiting.ended == "scope.cancel"


async def test_the_failure_of_a_created_task_is_its_own() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async with segue.open_nursery() as nursery:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        await segue.checkpoint()
        assert not nursery.cancel_scope.cancel_called
    with pytest.raises(KeyError):
        await task


async def test_a_nurserys_children_are_asyncio_tasks() -> None:
    async def child() -> None:
        me = asyncio.current_task()
        assert isinstance(me, asyncio.Task) and me in asyncio.all_tasks()
        async with asyncio.timeout(10):
            await asyncio.sleep(0)

    async with segue.open_nursery() as nursery:
        nursery.start_soon(child)


async def test_task_group_in_a_scope_is_cancelled_with_its_tasks() -> None:
    waiting = Waiting()
    with segue.CancelScope() as scope:
        async with asyncio.TaskGroup() as group:
            group.create_task(waiting())
            await waiting.began.wait()
            scope.cancel()
            await segue.sleep_forever()
    assert scope.cancelled_caught and waiting.ended == "Task.cancel" and cancelling() == 0


async def test_task_groups_failure_passes_a_scope_and_a_nursery() -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(ExceptionGroup) as info:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep_forever)
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
    (inner,) = info.value.exceptions
    assert isinstance(inner, ExceptionGroup) and repr(inner.exceptions) == "(KeyError(),)"
    assert nursery.cancel_scope.cancel_called and cancelling_after_a_task_group() == 0


async def test_a_nursery_in_a_task_group_is_cancelled_by_it_and_both_raise_once() -> None:
    waiting = Waiting()

    async def parent() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(waiting)

    async def fail() -> None:
        await waiting.began.wait()
        raise KeyError

    with pytest.raises(ExceptionGroup) as info:
        async with asyncio.TaskGroup() as group:
            group.create_task(parent())
            group.create_task(fail())
    assert repr(info.value.exceptions) == "(KeyError(),)"
    assert waiting.ended == "nursery failure" and cancelling_after_a_task_group() == 0


async def test_timeout_inside_a_scope_is_its_own_and_the_scope_goes_on() -> None:
    with segue.CancelScope() as scope:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await segue.sleep_forever()
        await segue.checkpoint()
    assert not scope.cancel_called and cancelling() == 0


async def test_timeout_around_a_nursery_cancels_its_children() -> None:
    waiting = Waiting()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            async with segue.open_nursery() as nursery:
                nursery.start_soon(waiting)
    assert waiting.ended and nursery.cancel_scope.cancel_called and cancelling() == 0


async def test_timeout_in_a_cancelled_scope_leaves_the_cancellation_to_the_scope() -> None:
    with segue.CancelScope() as scope:
        async with asyncio.timeout(10):
            scope.cancel()
            await segue.sleep_forever()
    assert scope.cancelled_caught and cancelling() == 0


async def test_asyncio_shield_protects_the_task_and_not_who_waits() -> None:
    waiting = Waiting()
    task = asyncio.create_task(waiting())
    with segue.move_on_after(0.01) as scope:
        await asyncio.shield(task)
    assert scope.cancelled_caught and not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_asyncio_shield_of_a_coroutine_runs_on_behind_the_scope() -> None:
    done = asyncio.Event()

    async def commit() -> None:
        await asyncio.sleep(0.01)
        done.set()

    with segue.CancelScope() as scope:
        scope.cancel()
        await asyncio.shield(commit())
    assert scope.cancelled_caught and not done.is_set()
    await done.wait()


async def test_a_segue_shield_protects_asyncio_inside() -> None:
    with segue.CancelScope() as scope:
        scope.cancel()
        with segue.CancelScope(shield=True):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0.001, "done"))
            assert await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)) == [1, 2]
            assert await asyncio.wait_for(asyncio.sleep(0, 3), 10) == 3
        assert task.result() == "done"
        await segue.checkpoint()
    assert scope.cancelled_caught


async def test_gather_in_a_scope_is_cancelled_with_everything_in_it() -> None:
    one, two = Waiting(), Waiting()
    with segue.move_on_after(0.01) as scope:
        await asyncio.gather(one(), two())
    await turns()
    assert scope.cancelled_caught and one.ended == two.ended == "Task.cancel"


async def test_gathers_failure_leaves_its_other_tasks_running_as_asyncio_has_it() -> None:
    waiting = Waiting()

    async def fail() -> None:
        await waiting.began.wait()
        raise KeyError

    task = asyncio.ensure_future(waiting())
    with pytest.raises(ExceptionGroup):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(segue.sleep_forever)
            await asyncio.gather(task, fail())
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_queue_lock_and_condition_keep_their_state_when_cancelled() -> None:
    queue = asyncio.Queue[int](1)
    lock = asyncio.Lock()
    for wait in (queue.get, lock.acquire):
        if wait == lock.acquire:
            await lock.acquire()
        with segue.move_on_after(0.001) as scope:
            await wait()  # type: ignore[operator]
        assert scope.cancelled_caught
    queue.put_nowait(1)
    assert await queue.get() == 1
    lock.release()
    assert not lock.locked()


async def test_run_in_executor_is_waited_for_no_longer() -> None:
    import threading

    go = threading.Event()
    loop = asyncio.get_running_loop()
    with segue.move_on_after(0.01) as scope:
        await loop.run_in_executor(None, go.wait)
    assert scope.cancelled_caught
    go.set()


async def test_async_for_over_a_stream_in_a_cancelled_scope_is_left() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with segue.move_on_after(0.02) as scope:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await reader.readexactly(10)
        finally:
            writer.close()
    assert scope.cancelled_caught
    server.close()
    await server.wait_closed()


# ---- anyio -----------------------------------------------------------------------------------------------------------


async def test_anyio_around_segue_catches_its_own() -> None:
    with anyio.CancelScope() as outer:
        with segue.CancelScope() as inner:
            outer.cancel()
            await segue.sleep_forever()
    assert outer.cancelled_caught and not inner.cancelled_caught and cancelling() == 0


async def test_segue_around_anyio_catches_its_own() -> None:
    with segue.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            outer.cancel()
            await anyio.sleep_forever()
    assert outer.cancelled_caught and not inner.cancelled_caught and cancelling() == 0


async def test_anyio_around_segue_the_inner_one_catches_its_own() -> None:
    with anyio.CancelScope() as outer:
        with segue.CancelScope() as inner:
            inner.cancel()
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
    assert inner.cancelled_caught and not outer.cancelled_caught


async def test_segue_around_anyio_the_inner_one_catches_its_own() -> None:
    with segue.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            inner.cancel()
            await segue.sleep_forever()
        await segue.checkpoint()
    assert inner.cancelled_caught and not outer.cancelled_caught and cancelling() == 0


async def sleep_by_asyncio() -> None:
    await asyncio.sleep(3600)


WAITS = [sleep_by_asyncio, segue.sleep_forever]


@pytest.mark.parametrize("first", ["inner", "outer"])
@pytest.mark.parametrize("wait", WAITS)
async def test_both_cancelled_anyio_around_segue(first: str, wait: Any) -> None:
    with anyio.CancelScope() as outer:
        with segue.CancelScope() as inner:
            for scope in (outer, inner) if first == "outer" else (inner, outer):
                scope.cancel()
            await wait()
        await anyio.lowlevel.checkpoint()
        pytest.fail("the outer scope is cancelled")
    assert outer.cancelled_caught and cancelling() == 0


@pytest.mark.parametrize("first", ["inner", "outer"])
@pytest.mark.parametrize("wait", WAITS)
async def test_both_cancelled_segue_around_anyio(first: str, wait: Any) -> None:
    with segue.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            for scope in (outer, inner) if first == "outer" else (inner, outer):
                scope.cancel()
            await wait()
        await segue.checkpoint()
        pytest.fail("the outer scope is cancelled")
    assert outer.cancelled_caught and cancelling() == 0


async def test_a_segue_shield_keeps_segue_out_of_anyio_and_not_anyio() -> None:
    reached = []
    with anyio.CancelScope() as outer:
        with segue.CancelScope(shield=True):
            outer.cancel()
            await segue.sleep(0.01)
            reached.append("past the sleep")
    assert outer.cancelled_caught and reached == []


async def test_an_anyio_shield_keeps_anyio_out_of_segue_and_not_segue() -> None:
    reached = []
    with segue.CancelScope() as outer:
        with anyio.CancelScope(shield=True):
            outer.cancel()
            await anyio.sleep(0.01)
            reached.append("past the sleep")
    assert outer.cancelled_caught and reached == []


async def test_anyio_timeouts_inside_and_around() -> None:
    with segue.CancelScope() as scope:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await segue.sleep_forever()
    assert not scope.cancel_called
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            async with segue.open_nursery() as nursery:
                nursery.start_soon(segue.sleep_forever)
    with anyio.move_on_after(10) as outer:
        with pytest.raises(segue.TooSlowError):
            with segue.fail_after(0.01):
                await anyio.sleep_forever()
    assert not outer.cancelled_caught and cancelling() == 0


async def test_an_anyio_task_group_in_a_segue_scope() -> None:
    waiting = Waiting()
    with segue.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(waiting)
            await waiting.began.wait()
            scope.cancel()
            await segue.sleep_forever()
    assert scope.cancelled_caught and waiting.ended == "Task.cancel" and cancelling() == 0


async def test_an_anyio_task_group_waiting_in_a_segue_scope() -> None:
    waiting = Waiting()
    with segue.move_on_after(0.01) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(waiting)
    assert scope.cancelled_caught and waiting.ended == "Task.cancel" and cancelling() == 0


async def test_a_segue_nursery_in_an_anyio_scope() -> None:
    waiting = Waiting()
    with anyio.move_on_after(0.01) as scope:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(waiting)
    assert scope.cancelled_caught and nursery.cancel_scope.cancel_called
    assert waiting.ended == "nursery failure" and cancelling() == 0


@pytest.mark.parametrize("outer", ["segue", "anyio"])
async def test_a_failure_passes_both_groups_once_each(outer: str) -> None:
    async def fail() -> None:
        raise KeyError

    waiting = Waiting()
    with pytest.raises(ExceptionGroup) as info:
        if outer == "segue":
            async with segue.open_nursery() as nursery:
                nursery.start_soon(waiting)
                async with anyio.create_task_group() as group:
                    await waiting.began.wait()
                    group.start_soon(fail)
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(waiting)
                async with segue.open_nursery() as nursery:
                    await waiting.began.wait()
                    nursery.start_soon(fail)
    (inner,) = info.value.exceptions
    assert isinstance(inner, ExceptionGroup) and repr(inner.exceptions) == "(KeyError(),)"
    assert waiting.ended and cancelling() == 0


async def test_a_child_of_an_anyio_group_isnt_in_segues_scope_and_the_other_way_round() -> None:
    one, two = Waiting(), Waiting()
    async with anyio.create_task_group() as group:
        with segue.CancelScope() as scope:
            group.start_soon(one)
            await one.began.wait()
            scope.cancel()
        await turns()
        assert not one.ended
        group.cancel_scope.cancel()
    async with segue.open_nursery() as nursery:
        with anyio.CancelScope() as anyios:
            nursery.start_soon(two)
            await two.began.wait()
            anyios.cancel()
        await turns()
        assert not two.ended
        nursery.cancel_scope.cancel()
    assert one.ended == "Task.cancel" and two.ended == "scope.cancel"


async def test_anyios_primitives_are_cancelled_by_segue() -> None:
    send, receive = anyio.create_memory_object_stream[int](0)
    waits: list[Callable[[], Awaitable[Any]]] = [anyio.Event().wait, receive.receive, lambda: send.send(1)]
    for wait in waits:
        with segue.move_on_after(0.001) as scope:
            await wait()
        assert scope.cancelled_caught
    assert receive.statistics().tasks_waiting_receive == send.statistics().tasks_waiting_send == 0
    send.close()
    receive.close()


# ---- aiohttp ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def web_site() -> AsyncIterator[tuple[str, dict[str, int]]]:
    """A site with a slow page, and how many requests have begun and ended there."""
    from aiohttp import web

    counts = {"began": 0, "cancelled": 0}

    async def slow(request: Any) -> Any:
        counts["began"] += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            counts["cancelled"] += 1
            raise

    async def quick(request: Any) -> Any:
        return web.Response(text="quick")

    app = web.Application()
    app.add_routes([web.get("/slow", slow), web.get("/quick", quick)])
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}", counts
    finally:
        with segue.CancelScope(shield=True):
            await runner.cleanup()


async def test_aiohttp_request_in_a_scope_is_cancelled_and_the_session_stays_usable() -> None:
    import aiohttp

    async with web_site() as (url, counts), aiohttp.ClientSession() as session:
        with segue.move_on_after(0.1) as scope:
            async with session.get(url + "/slow") as response:
                await response.read()
        assert scope.cancelled_caught and counts["began"] == 1
        async with session.get(url + "/quick") as response:
            assert await response.text() == "quick"
        while not counts["cancelled"]:
            await asyncio.sleep(0.001)
    assert cancelling() == 0


async def test_aiohttp_many_requests_in_a_nursery_are_cancelled_by_the_first_failure() -> None:
    import aiohttp

    async with web_site() as (url, counts), aiohttp.ClientSession() as session:

        async def fetch() -> None:
            async with session.get(url + "/slow") as response:
                await response.read()

        with pytest.raises(ExceptionGroup) as info:
            async with segue.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(fetch)
                while counts["began"] < 10:
                    await asyncio.sleep(0.001)
                raise KeyError
        assert repr(info.value.exceptions) == "(KeyError(),)"
        assert not [c for c in session.connector._acquired if c]  # type: ignore[union-attr]


async def test_aiohttp_session_and_server_opened_in_a_cancelled_scope_leave_nothing(recwarn: Any) -> None:
    import aiohttp

    loop: Any = asyncio.get_running_loop()
    before = len(asyncio.all_tasks())
    with segue.CancelScope() as scope:
        async with web_site() as (url, counts), aiohttp.ClientSession() as session:
            async with segue.open_nursery() as nursery:
                nursery.start_soon(session.get, url + "/slow")
                while not counts["began"]:
                    await asyncio.sleep(0.001)
                scope.cancel()
    assert scope.cancelled_caught
    await asyncio.sleep(0.01)
    gc.collect()
    assert len(asyncio.all_tasks()) == before
    assert loop._counts()[3] == 0
    assert not [w for w in recwarn if w.category is ResourceWarning]


async def test_a_protocol_client_that_pipelines_like_redis_or_asyncpg() -> None:
    """One connection and a queue of waiters; a cancelled waiter's answer is dropped, not given to the next."""
    waiters: list[asyncio.Future[bytes]] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0.02)
            writer.write(line)
        writer.close()

    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.sockets[0].getsockname()[1])

    async def read() -> None:
        while line := await reader.readline():
            waiter = waiters.pop(0)
            if not waiter.done():
                waiter.set_result(line)

    async def ask(text: bytes) -> bytes:
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        writer.write(text + b"\n")
        await writer.drain()
        return (await waiter).strip()

    pump = asyncio.create_task(read())
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_later(0.005, scope.cancel)
        await ask(b"dropped")
    assert scope.cancelled_caught
    assert await ask(b"answered") == b"answered"
    writer.close()
    await pump
    listening.close()
    await listening.wait_closed()
