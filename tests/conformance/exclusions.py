"""The one list of CPython tests that are not asked of another loop, each with its reason.

Only tests that assert how the stdlib loop is built inside belong here: private attributes, or the stdlib's own
modules mocked from within. A test of behaviour a user can see is never excluded. A test of the stdlib's own
classes passes whatever the contender is and needs no entry. Excluded tests are still run, and one that
passes is reported as stale.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import sys


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """`pattern` is a test id without the leading `test.test_asyncio.`; `*` only ever stands for a class prefix."""

    pattern: str
    reason: str
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (3, 99)

    def covers(self, test_id: str) -> bool:
        if not self.since <= sys.version_info[:2] <= self.until:
            return False
        return fnmatch.fnmatchcase(test_id.removeprefix("test.test_asyncio."), self.pattern)


EXCLUSIONS: list[Exclusion] = []


def exclusion_for(test_id: str) -> Exclusion | None:
    """The entry that covers this test on this interpreter, if any."""
    return next((entry for entry in EXCLUSIONS if entry.covers(test_id)), None)
