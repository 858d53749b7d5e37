"""Async tests in this folder run on a Segue loop, each on its own; a test that hangs ends the run with its stack."""

import asyncio
import faulthandler
import inspect
from collections.abc import Iterator

import pytest

import segue

HANG = 60.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    segue.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


async def turns(n: int = 3) -> None:
    """Let everything else run for `n` turns of the loop, whatever is cancelled here."""
    with segue.CancelScope(shield=True):
        for _ in range(n):
            await asyncio.sleep(0)


class Work:
    """How many events (steps, waits, wakes) the loop records between `start` and `events`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop._start_recording()

    def events(self) -> int:
        total, _ = self._loop._recorded_events()
        return total
