"""Worker threads, the way back from them, and tokens: as in Trio, and what `Task.cancel()` does to them."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import pytest
import segue
from segue import from_thread, lowlevel, to_thread

variable = contextvars.ContextVar("variable", default="unset")


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what only other threads can bring about."""
    while not condition():
        await segue.sleep(0.001)


# ---- to_thread ------------------------------------------------------------------------------------------------------


async def test_result_and_error_come_back() -> None:
    here = threading.current_thread()
    assert await to_thread.run_sync(divmod, 7, 2) == (3, 1)
    assert await to_thread.run_sync(threading.current_thread) is not here

    def fail() -> NoReturn:
        raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        await to_thread.run_sync(fail)


async def test_an_error_is_freed_without_the_collector() -> None:
    class Failed(Exception):
        """Can be weakly referenced."""

    def fail() -> NoReturn:
        raise Failed

    async def failed() -> weakref.ref[Any]:
        try:
            await to_thread.run_sync(fail)
        except Failed as exc:
            return weakref.ref(exc)
        raise AssertionError

    gc.collect()
    gc.disable()
    try:
        ref = await failed()
        await until(lambda: ref() is None)  # the thread lets go of it a moment later
    finally:
        gc.enable()


def test_functions_have_the_names_that_programs_know_them_by() -> None:
    functions = (to_thread.run_sync, from_thread.run, from_thread.run_sync, from_thread.check_cancelled)
    assert [f.__name__ for f in functions] == ["run_sync", "run", "run_sync", "check_cancelled"]


async def test_thread_is_reused() -> None:
    first = await to_thread.run_sync(threading.get_ident)
    for _ in range(20):
        assert await to_thread.run_sync(threading.get_ident) == first


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue import _thread_cache

    monkeypatch.setattr(_thread_cache, "IDLE_TIMEOUT", 0.01)
    monkeypatch.setattr(_thread_cache, "THREAD_CACHE", _thread_cache.ThreadCache())

    async def main() -> threading.Thread:
        return await to_thread.run_sync(threading.current_thread)

    thread = segue.run(main())
    thread.join()
    assert segue.run(main()) is not thread


async def test_names() -> None:
    task = lowlevel.current_task()

    def name() -> str:
        return threading.current_thread().name

    assert await to_thread.run_sync(name) == f"name from {task.get_name()}"
    assert await to_thread.run_sync(name, thread_name="mine") == "mine"
    thread = await to_thread.run_sync(threading.current_thread, thread_name="mine")
    assert thread.name.startswith("Segue thread")


async def test_context_is_copied() -> None:
    variable.set("task")

    def in_thread() -> tuple[str, str]:
        before = variable.get()
        variable.set("thread")
        return before, variable.get()

    assert await to_thread.run_sync(in_thread) == ("task", "thread")
    assert variable.get() == "task"


async def test_async_function_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a sync function.*asynchronous"):
        await to_thread.run_sync(segue.sleep, 1)


async def test_entering_is_a_cancel_point() -> None:
    called: list[int] = []
    with segue.CancelScope() as scope:
        scope.cancel()
        await to_thread.run_sync(called.append, 1)
    assert scope.cancelled_caught and not called


async def test_working_thread_is_waited_for_and_its_result_kept() -> None:
    gate = threading.Event()

    def work() -> str:
        gate.wait()
        return "kept"

    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        asyncio.get_running_loop().call_later(0.01, gate.set)
        assert await to_thread.run_sync(work) == "kept"
        with pytest.raises(segue.Cancelled):
            await segue.checkpoint()
    assert not scope.cancelled_caught


async def test_abandoned_thread_keeps_its_token() -> None:
    gate = threading.Event()
    limiter = segue.CapacityLimiter(1)
    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await to_thread.run_sync(gate.wait, abandon_on_cancel=True, limiter=limiter)
    assert scope.cancelled_caught
    assert limiter.borrowed_tokens == 1
    gate.set()
    await until(lambda: limiter.borrowed_tokens == 0)


async def test_limiter_holds_calls_back() -> None:
    limiter = segue.CapacityLimiter(2)
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1

    async with segue.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(partial(to_thread.run_sync, work, limiter=limiter))
    assert most <= 2 and limiter.borrowed_tokens == 0


async def test_default_limiter_has_forty_tokens_and_is_the_loops() -> None:
    limiter = to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40
    assert limiter is to_thread.current_default_thread_limiter()
    assert await to_thread.run_sync(from_thread.run_sync, lambda: limiter.borrowed_tokens) == 1
    assert limiter.borrowed_tokens == 0


async def test_release_error_is_chained_to_the_functions() -> None:
    class Broken:
        async def acquire_on_behalf_of(self, borrower: object) -> None: ...

        def release_on_behalf_of(self, borrower: object) -> None:
            raise ValueError("release")

    with pytest.raises(ValueError, match="release") as caught:
        await to_thread.run_sync(int, "x", limiter=Broken())
    assert isinstance(caught.value.__context__, ValueError)
    assert "invalid literal" in str(caught.value.__context__)


async def test_counting_active_threads() -> None:
    assert to_thread.active_thread_count() == 0
    gate = threading.Event()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(to_thread.run_sync, gate.wait)
        await until(lambda: to_thread.active_thread_count() == 1)
        nursery.start_soon(to_thread.wait_all_threads_completed)
        await segue.checkpoint()
        assert len(nursery.child_tasks) == 2
        gate.set()
    assert to_thread.active_thread_count() == 0


async def test_nothing_keeps_the_result_or_the_function() -> None:
    class Big: ...

    alive: list[weakref.ref[Any]] = []

    def make() -> Big:
        big = Big()
        alive.append(weakref.ref(big))
        return big

    await to_thread.run_sync(make)
    alive.append(weakref.ref(make))
    del make
    gc.collect()
    await until(lambda: all(ref() is None for ref in alive))


# ---- Task.cancel(), which Trio doesn't have -------------------------------------------------------------------------


async def test_task_cancel_waits_for_the_thread_and_loses_neither_result_nor_cancellation() -> None:
    gate, seen = threading.Event(), []

    async def work() -> None:
        seen.append(await to_thread.run_sync(lambda: (gate.wait(), "result")[1]))
        assert lowlevel.current_task().cancelling() == 1
        await segue.checkpoint()
        seen.append("not reached")

    task = asyncio.create_task(work())
    await until(lambda: to_thread.active_thread_count() == 1)
    task.cancel("by hand")
    await segue.checkpoint()
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("by hand",)
    assert seen == ["result"]


async def test_task_cancel_while_the_thread_asks_for_something() -> None:
    answers: list[str] = []

    def ask() -> None:
        for _ in range(20):
            answers.append(from_thread.run_sync(str, "answer"))

    for turns in range(30):  # the cancellation comes before, with or behind a request
        answers.clear()
        task = asyncio.create_task(to_thread.run_sync(ask))
        await until(lambda: bool(answers))
        for _ in range(turns):
            await segue.checkpoint()
        task.cancel()
        await asyncio.wait([task])
        assert answers == ["answer"] * 20


async def test_task_cancel_reaches_check_cancelled() -> None:
    gate = threading.Event()

    def work() -> None:
        gate.wait()
        from_thread.check_cancelled()

    task = asyncio.create_task(to_thread.run_sync(work))
    await until(lambda: to_thread.active_thread_count() == 1)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_timeouts_of_asyncio_wait_for_the_thread() -> None:
    gate = threading.Event()
    asyncio.get_running_loop().call_later(0.02, gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            assert await to_thread.run_sync(gate.wait)
            await asyncio.sleep(10)


def test_end_of_the_loop_waits_for_threads_that_are_waited_for() -> None:
    gate, ended = threading.Event(), []

    async def child() -> None:
        await to_thread.run_sync(gate.wait)
        try:
            await segue.checkpoint()
        finally:
            ended.append(await to_thread.run_sync(from_thread.run_sync, lambda: "asked"))

    async def main() -> None:
        task = asyncio.create_task(child())
        await until(lambda: to_thread.active_thread_count() == 1)
        threading.Timer(0.01, gate.set).start()
        del task

    segue.run(main())
    assert ended == ["asked"]


# ---- from_thread ----------------------------------------------------------------------------------------------------


async def test_from_thread_runs_in_the_task_that_waits() -> None:
    task = lowlevel.current_task()

    async def current() -> asyncio.Task[Any]:
        await segue.checkpoint()
        return lowlevel.current_task()

    assert await to_thread.run_sync(from_thread.run_sync, lowlevel.current_task) is task
    assert await to_thread.run_sync(from_thread.run, current) is task


async def test_from_thread_has_the_threads_context() -> None:
    variable.set("task")

    async def back(name: str) -> str:
        seen = variable.get()
        variable.set(name)
        await asyncio.sleep(0)
        await segue.sleep(0.001)
        assert variable.get() == name
        return seen

    def in_thread() -> list[str]:
        variable.set("thread")
        found = [from_thread.run(back, "async"), from_thread.run_sync(variable.get), variable.get()]
        return found

    assert await to_thread.run_sync(in_thread) == ["thread", "thread", "thread"]
    assert variable.get() == "task"


async def test_from_thread_passes_errors_on() -> None:
    async def fail() -> NoReturn:
        await segue.checkpoint()
        raise KeyError("async")

    with pytest.raises(KeyError, match="async"):
        await to_thread.run_sync(from_thread.run, fail)
    with pytest.raises(ValueError, match="invalid literal"):
        await to_thread.run_sync(from_thread.run_sync, int, "x")
    with pytest.raises(TypeError, match="appears to be synchronous"):
        await to_thread.run_sync(from_thread.run, len, [])
    with pytest.raises(TypeError, match="expected a synchronous function"):
        await to_thread.run_sync(from_thread.run_sync, segue.sleep, 0)


async def test_from_thread_is_cancelled_with_the_task() -> None:
    in_thread: list[str] = []

    def work(scope: segue.CancelScope) -> None:
        from_thread.run_sync(scope.cancel)
        try:
            from_thread.run(segue.sleep_forever)
        except segue.Cancelled:
            in_thread.append("cancelled")
            raise

    with segue.CancelScope() as scope:
        await to_thread.run_sync(work, scope)
    assert scope.cancelled_caught and in_thread == ["cancelled"]


async def test_each_await_site_in_from_thread_is_its_own() -> None:
    """As rule 1 of structured concurrency has it, also where the coroutine runs in another context."""
    cancelled = 0

    async def stubborn(scope: segue.CancelScope) -> None:
        nonlocal cancelled
        scope.cancel()
        for wait in (asyncio.sleep, segue.sleep):
            try:
                await wait(5)
            except segue.Cancelled:
                cancelled += 1
        try:
            await segue.sleep_forever()
        except segue.Cancelled:
            cancelled += 1

    with segue.CancelScope() as scope:
        await to_thread.run_sync(from_thread.run, stubborn, scope)
    assert cancelled == 3


async def test_check_cancelled_names_the_scope() -> None:
    gate = threading.Event()

    def work() -> None:
        from_thread.check_cancelled()
        gate.wait()
        from_thread.check_cancelled()

    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel, "enough")
        asyncio.get_running_loop().call_later(0.01, gate.set)
        try:
            await to_thread.run_sync(work)
        except segue.Cancelled as exc:
            info = segue.cancellation(exc)
            assert info is not None and info.reason == "enough"
            raise
    assert scope.cancelled_caught


async def test_check_cancelled_in_an_abandoned_thread() -> None:
    gate, found = threading.Event(), []

    def work() -> None:
        gate.wait()
        try:
            from_thread.check_cancelled()
        except segue.Cancelled:
            found.append("cancelled")

    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await to_thread.run_sync(work, abandon_on_cancel=True)
    gate.set()
    await until(lambda: found == ["cancelled"])


async def test_abandonable_thread_asks_a_system_task() -> None:
    task = lowlevel.current_task()

    async def current() -> asyncio.Task[Any]:
        return lowlevel.current_task()

    def work() -> asyncio.Task[Any]:
        return from_thread.run(current)

    assert await to_thread.run_sync(work, abandon_on_cancel=True) is not task


async def test_foreign_threads_need_a_token() -> None:
    token, found = lowlevel.current_trio_token(), []

    def work() -> None:
        for ask in (
            lambda: from_thread.run_sync(int),
            from_thread.check_cancelled,
            lambda: from_thread.run_sync(int, trio_token="token"),  # type: ignore[arg-type]
        ):
            with pytest.raises(RuntimeError):
                ask()
        found.append(from_thread.run_sync(threading.current_thread, trio_token=token))
        found.append(from_thread.run(to_thread.run_sync, threading.current_thread, trio_token=token))

    thread = threading.Thread(target=work)
    thread.start()
    await until(lambda: not thread.is_alive())
    assert found[0] is threading.current_thread()
    assert found[1] not in (thread, found[0])


async def test_blocking_functions_refuse_the_loops_thread() -> None:
    for token in (None, lowlevel.current_trio_token()):
        with pytest.raises(RuntimeError):
            from_thread.run_sync(int, trio_token=token)
        with pytest.raises(RuntimeError):
            from_thread.run(segue.checkpoint, trio_token=token)


def test_asking_a_loop_that_has_ended() -> None:
    tokens = []

    async def main() -> None:
        tokens.append(lowlevel.current_trio_token())

    segue.run(main())
    for call in (from_thread.run_sync, from_thread.run):
        with pytest.raises(segue.RunFinishedError):
            call(segue.checkpoint, trio_token=tokens[0])


def test_what_was_asked_when_the_loop_ends_is_answered() -> None:
    answers: list[type[BaseException]] = []
    started = threading.Event()

    def ask(token: lowlevel.TrioToken, fn: Callable[..., Any]) -> None:
        started.set()
        try:
            fn(trio_token=token)
        except BaseException as exc:
            answers.append(type(exc))

    async def main() -> threading.Thread:
        token = lowlevel.current_trio_token()
        thread = threading.Thread(target=ask, args=(token, partial(from_thread.run, segue.sleep_forever)))
        thread.start()
        await until(started.is_set)
        return thread

    thread = segue.run(main())
    thread.join()
    assert answers in ([asyncio.CancelledError], [segue.RunFinishedError])

    loop = segue.new_event_loop()

    async def get_token() -> lowlevel.TrioToken:
        return lowlevel.current_trio_token()

    token = loop.run_until_complete(get_token())
    answers.clear()
    thread = threading.Thread(target=ask, args=(token, partial(from_thread.run_sync, int)))
    thread.start()
    while not token._size():
        time.sleep(0.001)
    loop.close()  # it never ran the call
    thread.join()
    assert answers == [segue.RunFinishedError]


def test_abandoned_thread_ends_quietly_after_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    gate, threads = threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        gate.wait()

    async def main() -> None:
        with segue.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await to_thread.run_sync(work, abandon_on_cancel=True, thread_name="abandoned")
        await until(lambda: bool(threads))

    segue.run(main())
    gate.set()
    while threads[0].name == "abandoned":
        time.sleep(0.001)
    assert capfd.readouterr() == ("", "")


async def test_threads_and_the_loop_ask_each_other_without_deadlock() -> None:
    async def child() -> None:
        for _ in range(100):
            await to_thread.run_sync(from_thread.run, segue.sleep, 0)

    async with segue.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(child)


def test_a_forked_child_starts_threads_of_its_own() -> None:
    code = """
import os, segue, threading
from segue import to_thread
async def ident(): return await to_thread.run_sync(threading.get_native_id)
segue.run(ident())
pid = os.fork()
if pid == 0:
    segue.run(ident())
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=os.environ, timeout=30)
    assert done.returncode == 0


# ---- tokens ---------------------------------------------------------------------------------------------------------


async def test_run_sync_soon_is_first_come_first_served() -> None:
    token = lowlevel.current_trio_token()
    calls: list[object] = []
    assert token is lowlevel.current_trio_token()
    for i in range(100):
        token.run_sync_soon(calls.append, i)
    assert not calls
    await until(lambda: len(calls) == 100)
    assert calls == list(range(100))


async def test_run_sync_soon_idempotent() -> None:
    token = lowlevel.current_trio_token()
    calls: list[object] = []
    for _ in range(3):
        for i in range(10):
            token.run_sync_soon(calls.append, i, idempotent=True)
    assert token._size() == 10
    await until(lambda: token._size() == 0)
    assert calls == list(range(10))

    def again() -> None:
        calls.append("again")
        if calls.count("again") < 3:
            token.run_sync_soon(again, idempotent=True)

    token.run_sync_soon(again, idempotent=True)
    await until(lambda: calls.count("again") == 3)


async def test_run_sync_soon_that_asks_for_itself_starves_nobody() -> None:
    token, going = lowlevel.current_trio_token(), True

    def again() -> None:
        if going:
            token.run_sync_soon(again)

    again()
    for _ in range(100):
        await segue.checkpoint()
    going = False


async def test_run_sync_soon_failure_is_told_and_others_are_called() -> None:
    told: list[Any] = []
    calls: list[int] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    token = lowlevel.current_trio_token()
    token.run_sync_soon(int, "x")
    token.run_sync_soon(calls.append, 1)
    await until(lambda: bool(told))
    assert isinstance(told[0], ValueError) and calls == [1]


def test_accepted_calls_are_made_before_the_loop_is_closed() -> None:
    calls: list[int] = []

    async def main() -> lowlevel.TrioToken:
        token = lowlevel.current_trio_token()
        token.run_sync_soon(calls.append, 1)
        return token

    loop = segue.new_event_loop()
    token = loop.run_until_complete(main())
    token.run_sync_soon(calls.append, 2)
    loop.close()
    assert calls == [1, 2]
    with pytest.raises(segue.RunFinishedError):
        token.run_sync_soon(calls.append, 3)


def test_token_outside_of_a_loop() -> None:
    with pytest.raises(RuntimeError):
        lowlevel.current_trio_token()
