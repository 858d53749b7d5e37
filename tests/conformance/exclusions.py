"""The one list of CPython tests that are not asked of another loop, each with its reason.

Only tests that assert how the stdlib loop is built inside belong here: private attributes, or the
stdlib's own modules mocked from within. A test of behaviour a user can see is never excluded. A test
of the stdlib's own classes passes whatever the contender is and needs no entry. Excluded tests are still
run, and one that passes is reported as stale.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import sys


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """`test` is a glob over test ids without the leading `test.test_asyncio.`, `unit` one over unit names."""

    test: str
    reason: str
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (3, 99)
    unit: str = "*"

    def covers(self, unit: str, test_id: str) -> bool:
        if not self.since <= sys.version_info[:2] <= self.until:
            return False
        name = test_id.removeprefix("test.test_asyncio.")
        return fnmatch.fnmatchcase(name, self.test) and fnmatch.fnmatchcase(unit, self.unit)


PYTHON_TASKS = (
    "assigns the stdlib's private pure-Python _PyTask to asyncio.tasks.Task and expects the loop's own "
    "create_task() to read that global; set_task_factory() is the public way to choose the class, and works"
)

EXCLUSIONS = [
    Exclusion("test_graph.TestCallStackPy.*", PYTHON_TASKS, since=(3, 14)),
    Exclusion(
        "test_free_threading.Test*PyFreeThreading.test_all_tasks_from_other_thread_includes_eager_tasks",
        PYTHON_TASKS,
        since=(3, 14),
    ),
    Exclusion(
        "test_graph.TestCallStackC.*",
        "assigns the class under test to asyncio.futures.Future, after which asyncio's graph module takes "
        "only its subclasses for futures; segue.Task derives from asyncio.Task, so with segue.Future there "
        "it is none. The same tests run unchanged on Segue's loop and tasks in the plain unit",
        since=(3, 14),
        unit="*:own-tasks*",
    ),
    Exclusion(
        "test_sslproto.SelectorStartTLSTests.test_create_connection_ssl_failed_certificate_no_cycles",
        "replaces connection_made of the stdlib's private SSLProtocol to get hold of the transport; Segue's TLS "
        "connection is another class. Its twin for start_tls reaches the transport by public ways, and is run",
        since=(3, 13),
    ),
]


def is_excluded(unit: str, test_id: str) -> bool:
    """Whether an entry covers this test of this unit on this interpreter."""
    return any(entry.covers(unit, test_id) for entry in EXCLUSIONS)
