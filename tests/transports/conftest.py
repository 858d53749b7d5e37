"""Every behaviour test here runs on asyncio's loop and on Segue's: `run` runs a coroutine on either."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import segue
from tls_peer import Certificates

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "segue": segue.EventLoop,
}
HANG = 90.0  # seconds until a test that hangs ends the run and shows its stack


class Run:
    """`run(coroutine)`; `reports` are the contexts that reached the loop's exception handler."""

    def __init__(self, loop_name: str) -> None:
        self.loop_name = loop_name
        self.reports: list[dict[str, Any]] = []
        self.debug = False

    def __call__(self, main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[self.loop_name], debug=self.debug) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: self.reports.append(context))
            return runner.run(main)


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield Run(request.param)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return Certificates()
