"""Every behaviour test here runs on asyncio's loop and on Segue's: `run` runs a coroutine on either."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator

import pytest
from on_either_loop import LOOPS, Run
from tls_peer import Certificates

HANG = 90.0  # seconds until a test that hangs ends the run and shows its stack


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield Run(request.param)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return Certificates()
