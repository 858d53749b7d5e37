"""Fixtures of the reliability tests: what a loop must survive, on asyncio's loop and on Segue's.

How long the tests go on is set by the environment variable RELIABILITY_SCALE, a fraction of the full
size (1 million connections, 10 million timers, 2,000 random scenarios): 0.02 unless it is set, 1 in
`make reliability`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import ssl
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import trustme

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
SCALE = float(os.environ.get("RELIABILITY_SCALE", "0.02"))

hypothesis.settings.register_profile(
    "reliability",
    max_examples=max(100, int(2000 * SCALE)),
    deadline=None,
    derandomize=SCALE < 1,  # CI runs the same scenarios every time; the full run looks for new ones
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("reliability")


@pytest.fixture(params=["asyncio", "segue"])
def loop_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def loop_factory(loop_name: str) -> LoopFactory:
    if loop_name == "asyncio":
        return asyncio.SelectorEventLoop
    import segue

    return segue.new_event_loop


@pytest.fixture
def run(loop_factory: LoopFactory) -> Callable[..., Any]:
    """Runs a coroutine function to its end; fails when the loop's exception handler was called."""

    def run_main(main: Callable[..., Awaitable[Any]], *args: Any, timeout: float = 120.0) -> Any:
        unseen: list[dict[str, Any]] = []

        async def bounded() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            async with asyncio.timeout(timeout):
                return await main(*args)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            result = runner.run(bounded())
        assert not unseen, f"the loop's exception handler was called: {unseen}"
        return result

    return run_main


@pytest.fixture(scope="session")
def scaled() -> Callable[[int], int]:
    """The count to use where the full run uses `count`."""
    return lambda count: max(1, int(count * SCALE))


class _MallInfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


_libc = ctypes.CDLL(None)
_libc.mallinfo2.restype = _MallInfo2


@dataclass(frozen=True)
class Usage:
    """What the process holds: descriptors, Python's allocated blocks, bytes from malloc (Rust's too)."""

    descriptors: int
    blocks: int
    malloc_bytes: int

    @classmethod
    def now(cls) -> Usage:
        for _ in range(3):
            gc.collect()
        info = _libc.mallinfo2()
        return cls(open_descriptors(), sys.getallocatedblocks(), info.uordblks + info.hblkhd)

    def since(self, before: Usage) -> Usage:
        """How much more than `before` this is."""
        return Usage(
            self.descriptors - before.descriptors,
            self.blocks - before.blocks,
            self.malloc_bytes - before.malloc_bytes,
        )

    def assert_flat(self, blocks: int, malloc_bytes: int) -> None:
        """Called on a difference: no descriptor, and not more memory than the allocators' own play.

        Python's development mode keeps tracebacks and texts of its own, on asyncio's loop too.
        """
        if sys.flags.dev_mode:
            blocks *= 10
        assert self.descriptors == 0, f"{self.descriptors} descriptors leaked"
        assert self.blocks <= blocks, f"{self.blocks} Python blocks leaked"
        assert self.malloc_bytes <= malloc_bytes, f"{self.malloc_bytes} bytes of malloc leaked"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="session")
def usage() -> type[Usage]:
    return Usage


@pytest.fixture
def no_leaked_descriptors():
    """Fails the test when it leaves descriptors open."""
    before = Usage.now().descriptors
    yield
    assert Usage.now().descriptors == before, "descriptors leaked"


@pytest.fixture(scope="session", autouse=True)
def as_many_descriptors_as_allowed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def resource_warnings_are_errors():
    """A transport or socket that nobody closed fails the test in which it is collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's SSLContext that trust each other."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
