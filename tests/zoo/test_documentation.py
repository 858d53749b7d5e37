"""docs/howto/warnings.md has every warning and every program of the zoo."""

import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).parents[2] / "docs" / "build_warnings.py"


def test_every_warning_and_program_is_documented() -> None:
    run = subprocess.run([sys.executable, BUILD, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
