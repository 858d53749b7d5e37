"""What handles and their contexts keep alive, and how long: no longer than asyncio's, also in reference cycles.

Segue doesn't show a handle to the garbage collector while it waits on a running loop, and lets the contexts
of callbacks serve again.
"""

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

VARIABLE: contextvars.ContextVar[object] = contextvars.ContextVar("VARIABLE", default=None)


class Owner:
    """Refers to a handle whose callback refers to it."""

    handle: asyncio.Handle

    def called(self) -> None:
        pass


def schedule(loop: asyncio.AbstractEventLoop, how: str) -> Owner:
    owner = Owner()
    if how == "call_soon":
        owner.handle = loop.call_soon(owner.called)
    else:
        owner.handle = loop.call_later(0.001 if how == "fired" else 3600, owner.called)
    return owner


@pytest.mark.parametrize("how", ["call_soon", "fired", "cancelled", "cancelled call_soon"])
def test_a_cycle_through_a_handle_is_collected(run, how):
    async def main():
        loop = asyncio.get_running_loop()
        owners = []
        for _ in range(50):
            owner = schedule(loop, how.removeprefix("cancelled "))
            if how.startswith("cancelled"):
                owner.handle.cancel()
            owners.append(owner)
        gc.collect()  # while they wait
        alive = [weakref.ref(owner) for owner in owners]
        del owner, owners
        await asyncio.sleep(0.02)
        gc.collect()
        assert [ref() for ref in alive] == [None] * len(alive)

    run(main)


@pytest.mark.parametrize("ran", [False, True])
def test_a_loop_that_nobody_closed_is_collected_with_what_waits(loop_factory, ran):
    async def schedule_some(number):
        return [schedule(asyncio.get_running_loop(), "pending") for _ in range(number)]

    loop = loop_factory()
    owners = [schedule(loop, "pending") for _ in range(10)]
    if ran:
        owners += loop.run_until_complete(schedule_some(10))
    alive = [weakref.ref(thing) for thing in (loop, *owners)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop, owners
        gc.collect()
        gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)


def test_a_pending_handle_keeps_its_loop_alive(loop_factory):
    """While a timer's handle is held, the loop behind it isn't taken apart."""
    loop = loop_factory()

    async def main():
        return asyncio.get_running_loop().call_later(3600, print, "never")

    handle = loop.run_until_complete(main())
    alive = weakref.ref(loop)
    del loop
    gc.collect()
    assert alive() is not None
    assert not handle.cancelled()
    handle.cancel()
    alive().close()


def test_each_callback_has_variables_of_its_own(run):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []

        def callback(number):
            seen.append((number, VARIABLE.get()))
            VARIABLE.set(number)

        for turn in range(5):
            for number in range(100):
                VARIABLE.set(("scheduled", turn, number % 3))
                loop.call_soon(callback, number)
            await asyncio.sleep(0)
            assert seen == [(n, ("scheduled", turn, n % 3)) for n in range(100)]
            seen.clear()
        handles = [loop.call_soon(callback, n) for n in range(3)]
        contexts = [handle._context for handle in handles]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [context[VARIABLE] for context in contexts] == [0, 1, 2]

    run(main)


def test_variables_are_let_go_of_when_the_loop_waits(run):
    class Value:
        pass

    async def main():
        loop = asyncio.get_running_loop()
        value = Value()
        alive = weakref.ref(value)
        VARIABLE.set(value)
        for _ in range(100):
            loop.call_soon(int)
        await asyncio.sleep(0)
        VARIABLE.set(None)
        del value
        await asyncio.sleep(0.01)
        assert alive() is None

    run(main)


def test_arguments_that_somebody_replaced_are_used(run):
    async def main():
        loop, called = asyncio.get_running_loop(), []
        loop.call_soon(called.append, 1)._args = [2]
        loop.call_later(0, called.append, 1)._args = (number for number in [3])
        while len(called) < 2:
            await asyncio.sleep(0.001)
        assert called == [2, 3]

    run(main)


def test_a_handle_found_through_the_collector_is_nobody_elses(loop_factory):
    loop = loop_factory()
    for _ in range(50):
        loop.call_soon(int)  # seen by the collector, as the loop doesn't run

    async def main():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = [o for o in gc.get_objects() if isinstance(o, asyncio.Handle)]
        assert all(repr(handle) for handle in found)
        new = [loop.call_soon(int) for _ in range(60)]
        assert not {id(handle) for handle in new} & {id(handle) for handle in found}

    loop.run_until_complete(main())
    loop.close()


def test_what_a_contexts_variables_refer_to_goes_while_the_loop_is_busy(run):
    async def main():
        loop, owner = asyncio.get_running_loop(), Owner()
        alive = weakref.ref(owner)
        context = contextvars.copy_context()
        context.run(VARIABLE.set, owner)
        context.run(loop.call_soon, lambda: [loop.call_soon(int) for _ in range(3)])
        del owner, context
        for _ in range(1_000_000):
            if alive() is None:
                return
            await asyncio.sleep(0)
        pytest.fail("it is still alive after a million turns")

    run(main)
