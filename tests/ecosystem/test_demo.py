"""The demo's program in a small size: FastAPI site, scraper and chores as in `make demo`, on both loops.

On Segue it is started as a user would (`segue run`), so this also holds that uvicorn, which names its loop
itself, gets Segue's.
"""

import json
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
FAILURES = {
    "page that isn't there": "404",
    "handler with a bug": "500",
    "handler that is too slow": "TimeoutError",
    "connection cut in the body": "ClientPayloadError",
    "port where nobody listens": "Connect call failed",
    "certificate nobody trusts": "CERTIFICATE_VERIFY_FAILED",
    "process with exit status 3": "no space left",
    "process that hangs": "TimeoutError",
}


@pytest.fixture
def options(tmp_path):
    """Command-line options for a small run, on pages in folders of their own."""
    for number in range(30):
        page = tmp_path / "pages" / f"chapter{number % 3}" / f"page{number}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        links = "".join(f'<a href="page{other}.html">page {other}</a> ' for other in range(number))
        page.write_text(f"<html><title>Page {number}</title><body>{links * 50}</body></html>")
    return ["--pages", str(tmp_path / "pages"), "--rounds", "2", "--megabytes", "4"]


def start(python, on, *options):
    runner = ["-m", "segue", "run"] if on == "segue" else []
    command = [python, *runner, str(DEMO / "app.py"), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_every_step_works_and_every_failure_is_named(loop_under_test, python, options, tmp_path):
    summary = tmp_path / "summary.json"
    done = start(
        python, loop_under_test.name, *options, "--summary", summary, "--require-loop", loop_under_test.name
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(summary.read_text())
    assert outcome["loop"].split(".")[0] == loop_under_test.name
    assert outcome["problems"] == []
    assert outcome["failed_tasks"].keys() == FAILURES.keys()
    for name, cause in FAILURES.items():
        assert cause in outcome["failed_tasks"][name]
        assert outcome["failed_tasks"][name] in done.stdout


def test_the_wrong_loop_is_a_failure(python, options):
    done = start(python, "asyncio", *options, "--require-loop", "segue")
    assert done.returncode == 1
    assert "not segue's" in done.stdout
