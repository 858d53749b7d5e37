"""The pages and tables that scripts write are what the scripts would write now."""

from __future__ import annotations

import subprocess
import sys

import pytest
from snippets import PROJECT


@pytest.mark.parametrize("script", ["build_reference.py", "build_bench_table.py"])
def test_is_current(script: str) -> None:
    command = [sys.executable, str(PROJECT / "docs" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
