"""The programs of examples/patterns run, end by themselves, and print what they are meant to; their types are right."""

from __future__ import annotations

import subprocess
import sys

import pytest
from snippets import PROJECT

PATTERNS = PROJECT / "examples" / "patterns"
PRINTED = {
    "gather.py": """\
10 pages, the first is page 0 and at most 3 were fetched at a time
there is no page 13 - and 0 calls are left running
['page 12', LookupError('there is no page 13')]
""",
    "crawl.py": """\
/
/about
/lost (not there)
/news
/news/1
/news/2
/shop
/shop/boots
/shop/tents
""",
    "race.py": """\
Oslo was too slow: another one won the race
the file, from Lima
""",
    "retry.py": """\
call 3: Is it raining? Yes.
not tried again: a question without words
""",
    "metrics.py": """\
answers are counted: True
# TYPE segue_ready_queue gauge
# TYPE segue_lag_seconds histogram
# TYPE segue_code_busy_seconds_total counter
""",
    "pipeline.py": "LINE 0\nLINE 1\nLINE 2\nLINE 3\nLINE 4\nLINE 5\n",
    "server.py": "[b'ONE', b'TWO']\nstopped\n",
}


def run(name: str) -> str:
    command = [sys.executable, "-W", "error", str(PATTERNS / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PRINTED)
def test_prints_what_it_should(name: str) -> None:
    assert run(name) == PRINTED[name]


def test_background_logs_where_the_failed_task_was_started() -> None:
    printed = run("background.py")
    assert printed.startswith("thank you, ada@example.org\nthank you, nobody\n")
    assert "logged: background task 'mail to nobody', started at " in printed
    assert "background.py" in printed and "ValueError: no address: nobody" in printed
    assert printed.index("sent to ada@example.org") < printed.index("the mails are done")


def test_every_program_is_run_and_listed() -> None:
    programs = {path.name for path in PATTERNS.glob("*.py")}
    assert programs == {*PRINTED, "background.py"}
    page = (PATTERNS / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in page for name in programs)


def test_types_are_right() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "--scripts-are-modules"]
    programs = sorted(str(path) for path in PATTERNS.glob("*.py"))
    done = subprocess.run([*command, *programs], capture_output=True, text=True, check=False, cwd=PATTERNS)
    assert done.returncode == 0, done.stdout + done.stderr
