"""Fixtures of the parity tests: what asyncio's documentation promises of a loop, asked of asyncio's and of Segue's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import segue

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "segue": segue.EventLoop,
}


@pytest.fixture(params=sorted(LOOPS))
def loop_class(request: pytest.FixtureRequest) -> Any:
    return LOOPS[request.param]


@pytest.fixture
def loop(loop_class: Any) -> Iterator[asyncio.AbstractEventLoop]:
    loop = loop_class()
    yield loop
    loop.close()
