"""What Trio's tests import under private names, and where it is in Segue.

`PRIVATE[module][name]`: "module:attribute" of Segue, or an object. The table "*" holds for every module.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import Any


class _Runner:
    """As far as the tests look into Trio's runner."""

    @property
    def _loop(self) -> dict[str, Any]:
        return vars(asyncio.get_running_loop())

    @property
    def clock(self) -> Any:
        from segue.trio import lowlevel

        return lowlevel.current_clock()

    @property
    def clock_autojump_threshold(self) -> float:
        return getattr(self.clock, "autojump_threshold", float("inf"))

    @property
    def system_nursery(self) -> Any:
        return self._loop.get("_system_nursery", _CLOSED)

    @property
    def asyncgens(self) -> Any:
        return self._loop["_generators"]

    @property
    def instruments(self) -> Any:
        return self._loop["_instruments"]


class _Closed:
    _closed = True


_CLOSED = _Closed()


class _ParkingLotBreakers(Mapping[Any, list[Any]]):
    """Trio's global table: which task breaks which lots when it ends."""

    @staticmethod
    def _now() -> dict[Any, list[Any]]:
        from segue._core import _lots_broken_by

        found = {task: _lots_broken_by(task) for task in asyncio.all_tasks()}
        return {task: lots for task, lots in found.items() if lots}

    def __getitem__(self, task: Any) -> list[Any]:
        return self._now()[task]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


class _RunContext:
    runner = _Runner()


class AsyncContextManagerMixin:
    """`async with` by `acquire` and `release`."""

    async def __aenter__(self) -> None:
        await self.acquire()  # type: ignore[attr-defined]

    async def __aexit__(self, *exc: object) -> None:
        self.release()  # type: ignore[attr-defined]


def _count_context_run_tb_frames() -> int:
    return 0


# Modules of Segue that the tests look into, or change while they run: what stands there is the module itself.
SAME_MODULES = {
    "trio._core._thread_cache": "segue._thread_cache",
    "trio._file_io": "segue._files",
    "trio._signals": "segue._signals",
    "trio._subprocess": "segue._process",
    "trio._threads": "segue._threads",
    "trio._unix_pipes": "segue._pipes",
}

# Where Segue tells its own name and the tests expect Trio's.
OWN_NAMES = {
    "segue._nursery:_EXPECTING": "Trio was expecting",
    "segue._process:Process.__module__": "trio",
    "segue._thread_cache:THREAD_NAME": "Trio thread",
}

# What the tests look at of Segue's own objects, under a private name of Trio's.
PRIVATE_ATTRIBUTES = {"segue._core:Task._runner": _Runner()}

PRIVATE: dict[str, dict[str, Any]] = {
    "trio": {"Path": "pathlib:Path"},  # trio.Path itself comes later
    "*": {
        "to_thread_run_sync": "segue.trio.to_thread:run_sync",
        "from_thread_run": "segue.trio.from_thread:run",
        "from_thread_run_sync": "segue.trio.from_thread:run_sync",
        "from_thread_check_cancelled": "segue.trio.from_thread:check_cancelled",
    },
    "trio._core._run": {
        "TheIOManager": "segue._lowlevel:_Readiness",
        "GLOBAL_RUN_CONTEXT": _RunContext,
        "DEADLINE_HEAP_MIN_PRUNE_THRESHOLD": 1000,
        "_count_context_run_tb_frames": _count_context_run_tb_frames,
        "_r": random.Random(),
        "_ALLOW_DETERMINISTIC_SCHEDULING": True,
    },
    "trio._sync": {"AsyncContextManagerMixin": AsyncContextManagerMixin},
    "trio._core._parking_lot": {"GLOBAL_PARKING_LOT_BREAKER": _ParkingLotBreakers()},
    "trio._highlevel_open_tcp_stream": {
        "close_all": "segue._tcp:close_all",
        "format_host_port": "segue._tcp:format_host_port",
        "reorder_for_rfc_6555_section_5_4": "segue._tcp:try_another_family_second",
    },
    "trio._highlevel_open_unix_stream": {"close_on_error": "segue._socket_streams:close_on_error"},
    "trio._highlevel_socket": {"overload": "typing:overload"},
    "trio._socket": {
        "_NUMERIC_ONLY": "segue._socket:_NUMERIC_ONLY",
        "_SocketType": "segue._socket:SystemSocket",
        "AddressFormat": "segue._socket:Address",
        "_GetAddrInfoEntry": "segue._socket:AddrInfo",
        "_try_sync": None,  # imported by test_socket.py, out of which test_highlevel_socket.py takes a function
    },
    "trio._ssl": {"_is_eof": "segue._tls_streams:_is_eof"},
    "trio._util": {"ConflictDetector": "segue._conflicts:ConflictDetector"},
    "trio.testing._check_streams": {"_assert_raises": "segue.testing._check_streams:assert_raises"},
    "trio.testing._memory_streams": {"_UnboundedByteQueue": "segue.testing._memory_streams:ByteQueue"},
}
