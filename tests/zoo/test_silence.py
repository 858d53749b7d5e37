"""Programs in which nothing is wrong are told nothing: the tests of unmodified libraries, with warnings on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ECOSYSTEM = sorted(path.name for path in (TESTS / "ecosystem").glob("test_*.py"))


@pytest.mark.parametrize("module", ECOSYSTEM)
def test_an_ecosystem_test_gives_no_warning(module: str) -> None:
    """All tests of the module in one process, whose loops are one after the other in one recording."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "segue", f"ecosystem/{module}"]
    environment = {**os.environ, "SEGUE_WARN": "1"}
    environment.pop("_SEGUE_RECORD_OWNER", None)
    run = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    # None at all: the tests of this module run no loop in this process.
    said = run.stderr[run.stderr.rfind("segue: ") :].strip() if "segue: " in run.stderr else ""
    assert said in ("", "segue: no warnings"), said
