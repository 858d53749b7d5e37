"""Each program of the tables with `python` and with `segue run`: same output, errors and exit status."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
from dataclasses import replace
from pathlib import Path

import cases_asyncio
import cases_multiprocessing
import cases_python
import cases_tools
import pytest
import segue._loop
from case import PYTHON, Case, Outcome, run, segue_command

CASES = [*cases_python.CASES, *cases_asyncio.CASES, *cases_multiprocessing.CASES, *cases_tools.CASES]

_DURATION = re.compile(r"\b[0-9]+\.[0-9]+s\b")
_ADDRESS = re.compile("0x[0-9a-f]+")
_LOOPS = "|".join(map(re.escape, (os.path.dirname(asyncio.__file__), segue._loop.__file__)))
_FRAME_OF_THE_LOOP = re.compile(rf'^([ |]*)  File "(?:{_LOOPS})[^\n]*\n(?:\1    [^\n]*\n)*', re.MULTILINE)


def comparable(outcome: Outcome) -> Outcome:
    """Without addresses and durations, and without the loops' own frames: the program's lines are what counts."""

    def masked(text: str) -> str:
        return _DURATION.sub("...s", _ADDRESS.sub("0x...", text))

    return replace(
        outcome, stdout=masked(outcome.stdout), stderr=masked(_FRAME_OF_THE_LOOP.sub("", outcome.stderr))
    )


def expand(case: Case) -> Case:
    inherited = os.environ.get("PYTHONPATH", "")
    changes = {name: value and value.replace("{PYTHONPATH}", inherited) for name, value in case.env.items()}
    return replace(case, env=changes)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_same_as_python(case: Case, tmp_path: Path) -> None:
    case = expand(case)
    outcomes = []
    program = tmp_path / "program"
    program.mkdir()
    for command in (PYTHON, [*segue_command(tmp_path), "run"]):
        for leftover in program.glob("**/*"):
            if leftover.is_file() or leftover.is_symlink():
                leftover.unlink()
        case.write(program)
        outcomes.append(comparable(run(command, case, program)))
    python, segue = outcomes
    difference = [
        *difflib.unified_diff(
            python.stdout.splitlines(), segue.stdout.splitlines(), "python's stdout", "segue's"
        ),
        *difflib.unified_diff(
            python.stderr.splitlines(), segue.stderr.splitlines(), "python's stderr", "segue's"
        ),
    ]
    assert not difference, "\n".join(difference)
    assert segue == python


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
