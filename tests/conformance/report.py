"""Turns unit runs into a table, a list of failures and one closing line. Prints; decides nothing else.

`Report.unexplained` is what a caller bases its exit status on.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from supervisor import BAD, Result, UnitRun

COLUMNS = ("passed", "failed", "error", "hang", "crash", "excluded", "skipped")


def headline(result: Result) -> str:
    """The line that says most: the last exception line, or the first line of any other detail."""
    lines = [line for line in result.detail.splitlines() if line.strip()]
    if not lines:
        return ""
    if result.outcome in ("hang", "crash"):
        return lines[0] if lines[-1] == lines[0] else f"{lines[0]}; {lines[-1].strip()}"
    unindented = [line for line in lines if not line[0].isspace() and not line.startswith("Traceback")]
    errors = [line for line in unindented if ":" in line or "Error" in line]
    return (errors or lines)[-1]


@dataclasses.dataclass
class Report:
    """All units of one contender, sorted into what passed, failed, was excluded or fails everywhere."""

    loop: str
    units: list[UnitRun]
    is_excluded: Callable[[str, str], bool]  # (unit, test id)
    baseline_failures: frozenset[str] = frozenset()  # test ids

    def column_of(self, unit: UnitRun, result: Result) -> str:
        if result.outcome in BAD and self.is_excluded(unit.name, result.id):
            return "excluded"
        return result.outcome

    def bad(self) -> list[tuple[str, Result]]:
        """(unit, result) of everything that failed and is not excluded."""
        return [(u.name, r) for u in self.units for r in u.results if self.column_of(u, r) in BAD]

    def failures(self) -> frozenset[str]:
        return frozenset(result.id for _, result in self.bad())

    def unexplained(self) -> list[tuple[str, Result]]:
        """What fails here and not in the baseline."""
        return [(u, r) for u, r in self.bad() if r.id not in self.baseline_failures]

    def stale_exclusions(self) -> list[str]:
        passed = [(u.name, r.id) for u in self.units for r in u.results if r.outcome == "passed"]
        return [f"{test_id} [{unit}]" for unit, test_id in passed if self.is_excluded(unit, test_id)]

    def totals(self) -> Counter[str]:
        return Counter(self.column_of(u, r) for u in self.units for r in u.results)

    def print(self, verbose: bool = False) -> None:
        width = max([len(unit.name) for unit in self.units] + [6])
        print(f"\n{'module':{width}} " + " ".join(f"{c:>8}" for c in COLUMNS) + "   seconds")
        for unit in self.units:
            counts = Counter(self.column_of(unit, r) for r in unit.results)
            cells = " ".join(f"{counts[c] or '-':>8}" for c in COLUMNS)
            print(f"{unit.name:{width}} {cells} {unit.seconds:9.1f}")
        for unit_name, result in self.bad():
            shared = "" if result.id not in self.baseline_failures else " (fails on the stdlib loop too)"
            print(f"{result.outcome.upper()}: {result.id} [{unit_name}]{shared}\n    {headline(result)}")
            if verbose:
                print("    " + result.detail.replace("\n", "\n    "))

    def print_closing_line(self) -> None:
        totals = self.totals()
        failed = sum(totals[outcome] for outcome in BAD)
        also = failed - len(self.unexplained())
        detail = [f"{totals[o]} {o}" for o in ("hang", "crash") if totals[o]]
        extra = f" ({', '.join(detail)})" if detail else ""
        shared = f", of which {also} on the stdlib loop too" if also else ""
        print(
            f"{totals['passed']} passed, {failed} failed{extra}{shared}, "
            f"{totals['skipped']} skipped, {totals['excluded']} excluded"
        )

    def write_json(self, path: Path) -> None:
        rows = [
            {"unit": u.name, "column": self.column_of(u, r), **dataclasses.asdict(r)}
            for u in self.units
            for r in u.results
        ]
        path.write_text(json.dumps({"loop": self.loop, "tests": rows}, indent=1))
