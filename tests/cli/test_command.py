"""The `segue` command itself: help, mistakes, `segue info`, and what a program finds in its process."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from case import Case, Outcome, run, segue_command


def segue(directory: Path, *argv: str, **more: object) -> Outcome:
    case = Case("", list(argv), **more)  # type: ignore[arg-type]
    case.write(directory)
    return run(segue_command(directory), case, directory)


# --- Help and mistakes ----------------------------------------------------------------------------


def test_help(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "--help")
    assert outcome.status == 0 and outcome.stderr == ""
    assert "segue run app.py" in outcome.stdout and "segue info" in outcome.stdout


def test_nothing_said_is_a_mistake_that_helps(tmp_path: Path) -> None:
    outcome = segue(tmp_path)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "segue run app.py" in outcome.stderr


def test_program_without_run(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "app.py", "x")
    assert outcome.status == 2
    assert outcome.stderr.startswith(
        "segue: unknown command 'app.py'\nTo run a program: segue run app.py x\n"
    )


def test_an_option_without_run_is_quoted(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "-c", "print(1)")
    assert outcome.status == 2 and "To run a program: segue run -c 'print(1)'\n" in outcome.stderr


def test_unknown_command(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "inof")
    assert outcome.status == 2 and outcome.stderr.startswith("segue: unknown command 'inof'\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_run(flag: str, tmp_path: Path) -> None:
    outcome = segue(tmp_path, "run", flag)
    assert outcome.status == 0 and "package.module:function" in outcome.stdout


def test_help_after_the_program_is_the_programs(tmp_path: Path) -> None:
    files = {"app.py": "import sys; print(sys.argv[1:])"}
    assert (
        segue(tmp_path, "run", "app.py", "--help", "--report", files=files).stdout
        == "['--help', '--report']\n"
    )


def test_version(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "--version")
    assert outcome.status == 0 and outcome.stdout.startswith("segue ")


def test_python_m_segue_hands_its_options_on(tmp_path: Path) -> None:
    case = Case(
        "",
        [
            "-O",
            "-X",
            "dev",
            "-m",
            "segue",
            "run",
            "-c",
            "import sys; print(sys.flags.optimize, sys.flags.dev_mode)",
        ],
    )
    assert run([sys.executable], case, tmp_path).stdout == "1 True\n"


# --- What a program finds in its process ----------------------------------------------------------


def test_traces_in_the_process_are_the_documented_ones(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "before = {name for name in sys.modules if 'segue' in name}\n"
        "import asyncio, runpy\n"
        "print(before, type(sys.meta_path[0]).__name__, type(asyncio.__spec__.loader).__name__)\n"
        "print(asyncio.__loader__ is asyncio.__spec__.loader)\n"
    )
    outcome = segue(tmp_path, "run", "app.py", files={"app.py": program})
    assert outcome.stdout == "{'_segue_program'} _ImportWatch SourceFileLoader\nTrue\n", outcome.stderr


def test_a_program_without_asyncio_pays_for_no_loop(tmp_path: Path) -> None:
    program = "import sys; print('asyncio' in sys.modules, 'segue' in sys.modules)"
    assert segue(tmp_path, "run", "-c", program).stdout == "False False\n"


def test_process_is_the_one_that_was_started(tmp_path: Path) -> None:
    """A supervisor signals the process it started and waits for it: there must be no other in between."""
    program = "import os, sys; print(os.getpid(), os.path.realpath(sys.executable), os.getppid(), flush=True)"
    with subprocess.Popen(
        [*segue_command(tmp_path), "run", "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout
        pid, executable, parent = process.stdout.read().split()
    assert int(pid) == process.pid
    assert int(parent) == os.getpid()
    assert executable == os.path.realpath(sys.executable)


def test_descriptors_are_the_programs_own(tmp_path: Path) -> None:
    program = "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])"
    assert segue(tmp_path, "run", "-c", program).stdout == "['0', '1', '2']\n"


# --- segue info -----------------------------------------------------------------------------------


def test_info_for_people(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "info")
    assert outcome.status == 0, outcome.stdout
    assert f"CPython {platform.python_version()}" in outcome.stdout
    assert platform.release() in outcome.stdout
    assert sys.executable in outcome.stdout


def test_info_for_programs(tmp_path: Path) -> None:
    facts = json.loads(segue(tmp_path, "info", "--json").stdout)
    assert facts["interpreter"]["version"] == platform.python_version()
    assert facts["segue"]["io_backend"] == "epoll"
    assert facts["segue"]["error"] is None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert facts["limits"]["open_files_soft"] == (None if soft == resource.RLIM_INFINITY else soft)
    assert facts["limits"]["open_files_hard"] == (None if hard == resource.RLIM_INFINITY else hard)


def limited(directory: Path, limits: tuple[int, int], *argv: str) -> subprocess.CompletedProcess[str]:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    command = [*segue_command(directory), "info", *argv]
    return subprocess.run(command, preexec_fn=lower, capture_output=True, text=True, cwd=directory)


def test_info_says_what_to_do_about_few_open_files(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    outcome = limited(tmp_path, (256, hard))
    assert outcome.returncode == 0
    assert "warning: open files: 256 at most" in outcome.stdout and "do: ulimit -n" in outcome.stdout


def test_info_knows_when_the_hard_limit_is_in_the_way(tmp_path: Path) -> None:
    outcome = limited(tmp_path, (256, 512), "--json")
    [advice] = [item for item in json.loads(outcome.stdout)["advice"] if "open files" in item["about"]]
    assert advice["level"] == "warning" and "LimitNOFILE" in advice["do"]


def test_info_notes_debug_mode(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "info", env={"PYTHONASYNCIODEBUG": "1"})
    assert "note: asyncio's debug mode is on" in outcome.stdout
    case = Case("", "-E -m segue info", env={"PYTHONASYNCIODEBUG": "1"})
    assert "asyncio's debug mode" not in run([sys.executable], case, tmp_path).stdout


def test_info_reports_a_loop_that_cannot_be_opened(tmp_path: Path) -> None:
    code = (
        "import segue, sys\n"
        "def new_event_loop(): raise OSError('no epoll here')\n"
        "segue.new_event_loop = new_event_loop\n"
        "from segue._cli import info\n"
        "sys.exit(info.main([]))"
    )
    outcome = run([sys.executable], Case("", ["-c", code]), tmp_path)
    assert outcome.status == 1
    assert "error: Segue's loop can't be opened: OSError: no epoll here" in outcome.stdout
    assert "I/O backend      none" in outcome.stdout


def test_info_mistake(tmp_path: Path) -> None:
    outcome = segue(tmp_path, "info", "--jsno")
    assert outcome.status == 2 and "unexpected argument '--jsno'" in outcome.stderr
