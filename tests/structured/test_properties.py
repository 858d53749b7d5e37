"""Nothing leaks, and everything is told: random programs on a virtual clock, compared with a model.

`SEGUE_EXAMPLES=1000 pytest tests/structured/test_properties.py` looks further than CI does: new programs each time.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import segue
import segue.trio
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from model import Fn, Model, Runtime, Undecided
from programs import END, Program, statements
from segue._nursery import _open_nurseries
from segue.testing import MockClock

EXAMPLES = int(os.environ.get("SEGUE_EXAMPLES", 0))


def examples(n: int) -> Any:
    """As many examples as CI has time for, the same ones each time; or as many as were asked for, new ones."""
    return settings(
        max_examples=EXAMPLES or n,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


class Real(Runtime):
    """Runs programs on Segue."""

    Cancelled = segue.Cancelled

    def now(self) -> float:
        return segue.current_time() - self.began

    def is_scoped(self, exc: BaseException) -> bool | None:
        info = segue.cancellation(exc)
        return None if info is None else info.scoped

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        segue.trio.run(self.checked, main, clock=MockClock(autojump_threshold=0))

    async def checked(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs `main` in a task of its own, and looks at what is left of it."""
        loop: Any = asyncio.get_running_loop()
        self.began = segue.current_time()
        before = len(asyncio.all_tasks()), len(_open_nurseries(loop)), loop._counts()
        self.tasks[0] = asyncio.create_task(main)
        await asyncio.wait([self.tasks[0]])
        assert self.tasks[0].cancelled() or self.tasks[0].exception() is None
        await asyncio.sleep(0)
        assert (len(asyncio.all_tasks()), len(_open_nurseries(loop)), loop._counts()) == before

    # ---- what programs use ----

    async def sleep(self, number: int, kind: str, seconds: float) -> None:
        with self.noting(f"line {number}"):
            await getattr(self, "by_" + kind.replace(".", "_"))(seconds)

    async def by_segue_sleep(self, seconds: float) -> None:
        await segue.sleep(seconds)

    async def by_asyncio_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def by_future(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        timer = loop.call_later(seconds, future.set_result, None)
        try:
            await future
        finally:
            timer.cancel()

    async def by_event(self, seconds: float) -> None:
        event = segue.Event()
        timer = asyncio.get_running_loop().call_later(seconds, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()
        assert event.statistics().tasks_waiting == 0

    async def by_wait_for(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), seconds)
        except TimeoutError:
            pass

    async def by_forever(self, seconds: float) -> None:
        with segue.move_on_after(seconds):
            await segue.sleep_forever()

    async def by_checkpoint(self, _: float) -> None:
        await segue.checkpoint()

    async def pause(self, seconds: float) -> None:
        with segue.CancelScope(shield=True):
            await asyncio.sleep(seconds)

    def make_scope(self, deadline: float | None, shield: bool) -> segue.CancelScope:
        return segue.CancelScope(relative_deadline=math.inf if deadline is None else deadline, shield=shield)

    def make_nursery(self) -> Any:
        return segue.open_nursery()

    def start(self, nursery: int, number: int, fn: Fn) -> None:
        async def run() -> None:
            self.tasks[number] = asyncio.current_task()
            await self.run_task(number, fn)

        self.nurseries[nursery].start_soon(run)


def differences(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> list[str]:
    """Where two logs differ; times may by what a float loses."""
    return [
        f"{who}: expected {expected.get(who)}, got {found.get(who)}"
        for who in sorted(expected.keys() | found.keys())
        if not _same(expected.get(who, []), found.get(who, []))
    ]


def _same(expected: list[Any], found: list[Any]) -> bool:
    return len(expected) == len(found) and all(
        a[:-1] == b[:-1] and math.isclose(a[-1], b[-1], abs_tol=1e-5) for a, b in zip(expected, found)
    )


@examples(300)
@given(statements)
def test_random_programs_do_what_the_model_does_and_leave_nothing(body: list[Any]) -> None:
    program = Program(body)
    model, real = Model(), Real()
    try:
        model.run(program.run(model))
    except Undecided:
        assume(False)
    real.run(program.run(real))
    found = differences(model.log, real.log)
    assert not found, "\n".join([program.source, "", *found])


# ---- what tasks wait for, with cancellations at any time, also in the very turn in which a wait ends ----------------

times = st.integers(0, 4)
jobs = st.lists(st.tuples(times, times, st.none() | times), min_size=1, max_size=4)
"""What one worker does, one after the other: (pause, seconds that it holds what it got, seconds until it gives up)."""
teams = st.lists(jobs, min_size=1, max_size=5)
shots = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=6)
"""(when, which worker): `Task.cancel` on a worker, which then goes on with its next job."""


class Team:
    """Workers that are cancelled while they use what is being tested."""

    def __init__(self, shots: list[tuple[int, int]]) -> None:
        self.shots = shots
        self.workers: list[Any] = []
        self.inside: list[Any] = []
        self.most_inside = 0

    async def run(self, teams: list[list[Any]], job: Callable[..., Coroutine[Any, Any, None]]) -> None:
        async def worker(number: int, jobs: list[Any]) -> None:
            task: Any = asyncio.current_task()
            self.workers.append(task)
            for nth, (pause, hold, patience) in enumerate(jobs):
                try:
                    await segue.sleep(pause)
                    with segue.move_on_after(math.inf if patience is None else patience):
                        await job((number, nth), hold)
                except segue.Cancelled as exc:
                    if exc.cancellation.scoped:  # type: ignore[attr-defined]
                        raise
                    task.uncancel()

        async def shoot(when: int, number: int) -> None:
            await segue.sleep(when)
            if number < len(self.workers):
                self.workers[number].cancel()

        async with segue.open_nursery() as nursery:
            for number, jobs in enumerate(teams):
                nursery.start_soon(worker, number, jobs)
            for when, number in self.shots:
                nursery.start_soon(shoot, when, number)

    async def hold(self, who: Any, seconds: int) -> None:
        """What must not be done by more than so many at once."""
        self.inside.append(who)
        self.most_inside = max(self.most_inside, len(self.inside))
        try:
            await segue.sleep(seconds)
        finally:
            self.inside.remove(who)


def run_virtually(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `main`, which must come to its end: a waiter that nobody wakes is an error."""

    async def limited() -> None:
        loop: Any = asyncio.get_running_loop()
        before = loop._counts()[1]
        with segue.fail_after(END):
            await main()
        assert loop._counts()[1] == before and len(asyncio.all_tasks()) == 2

    segue.trio.run(limited, clock=MockClock(autojump_threshold=0))


@examples(150)
@given(st.sampled_from(["Lock", "StrictFIFOLock", "Semaphore", "CapacityLimiter", "Condition"]), teams, shots)
def test_what_is_acquired_is_never_over_granted_and_never_lost(kind: str, teams: Any, shots: Any) -> None:
    size = 2 if kind in ("Semaphore", "CapacityLimiter") else 1

    async def main() -> None:
        made = getattr(segue, kind)
        thing: Any = made() if size == 1 else made(size)
        team = Team(shots)

        async def job(who: Any, seconds: int) -> None:
            async with thing:
                await team.hold(who, seconds)

        await team.run(teams, job)
        assert team.most_inside <= size and not team.inside
        assert getattr(thing.statistics(), "tasks_waiting", 0) == 0
        for _ in range(size):  # it is all there again
            if kind == "CapacityLimiter":
                thing.acquire_on_behalf_of_nowait(object())
            else:
                thing.acquire_nowait()
        with pytest.raises((segue.WouldBlock, RuntimeError)):
            thing.acquire_nowait()

    run_virtually(main)


@examples(100)
@given(teams, shots, st.lists(st.tuples(times, st.integers(1, 3)), max_size=4))
def test_a_limiter_whose_size_changes_grants_what_it_has(teams: Any, shots: Any, sizes: Any) -> None:
    async def main() -> None:
        limiter = segue.CapacityLimiter(1)
        team = Team(shots)

        async def resize() -> None:
            for pause, size in sizes:
                await segue.sleep(pause)
                limiter.total_tokens = size

        async def job(who: Any, seconds: int) -> None:
            async with limiter:
                await team.hold(who, seconds)

        async with segue.open_nursery() as nursery:
            nursery.start_soon(resize)
            await team.run(teams, job)
        assert team.most_inside <= max([1] + [size for _, size in sizes])
        statistics = limiter.statistics()
        assert (statistics.borrowed_tokens, statistics.tasks_waiting, statistics.borrowers) == (0, 0, [])

    run_virtually(main)


@examples(200)
@given(st.sampled_from([0, 1, 2, math.inf]), teams, teams, shots, shots)
def test_channels_lose_no_item_and_deliver_none_twice(
    size: float, senders: Any, receivers: Any, shots: Any, more_shots: Any
) -> None:
    async def main() -> None:
        send_end, receive_end = segue.open_memory_channel[Any](size)
        sent: list[Any] = []
        perhaps: list[Any] = []
        received: list[Any] = []

        async def send(item: Any, _: int) -> None:
            try:
                await send_end.send(item)
            except segue.Cancelled as exc:
                if not exc.cancellation.scoped:  # type: ignore[attr-defined]
                    perhaps.append(item)  # Task.cancel can come when the item is on its way already
                raise
            sent.append(item)

        async def receive(_: Any, __: int) -> None:
            try:
                received.append(await receive_end.receive())
            except segue.EndOfChannel:
                pass

        async def all_senders() -> None:
            await Team(shots).run(senders, send)
            send_end.close()

        async def all_receivers() -> None:
            await Team(more_shots).run(receivers, receive)
            async for item in receive_end:
                received.append(item)

        async with segue.open_nursery() as nursery:
            nursery.start_soon(all_senders)
            nursery.start_soon(all_receivers)
        assert len(set(received)) == len(received)
        assert set(sent) <= set(received) <= set(sent) | set(perhaps)
        statistics = receive_end.statistics()
        assert (statistics.current_buffer_used, statistics.tasks_waiting_send, statistics.tasks_waiting_receive) == (
            0,
            0,
            0,
        )
        if len(receivers) == 1:
            for number in range(len(senders)):
                own = [item for item in received if item[0] == number]
                assert own == sorted(own)

    run_virtually(main)


@examples(100)
@given(teams, shots, st.lists(st.tuples(times, st.integers(0, 3)), max_size=5))
def test_a_notification_goes_to_somebody_who_still_waits(teams: Any, shots: Any, notifications: Any) -> None:
    """A token for each notification: who is woken finds one, unless somebody else came first; none stays at the end."""

    async def main() -> None:
        condition = segue.Condition()
        event = segue.Event()
        tokens = 0

        async def job(_: Any, __: int) -> None:
            nonlocal tokens
            async with condition:
                while not tokens and not event.is_set():
                    await condition.wait()
                tokens = max(0, tokens - 1)

        async def notify() -> None:
            nonlocal tokens
            for pause, n in notifications:
                await segue.sleep(pause)
                async with condition:
                    tokens += n
                    condition.notify(n)
            await segue.sleep(20)
            async with condition:
                assert not (tokens and condition.statistics().tasks_waiting), "a notification was lost"
                event.set()
                condition.notify_all()

        async with segue.open_nursery() as nursery:
            nursery.start_soon(notify)
            await Team(shots).run(teams, job)
        assert condition.statistics().tasks_waiting == 0 and not condition.locked()

    run_virtually(main)
