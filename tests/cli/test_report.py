"""`segue run --report`: which tasks failed, where they were started, why, and the tree they make."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from case import Case, Outcome, run, segue_command

SCRAPER = """
import asyncio

async def fetch(number):
    await asyncio.sleep(0)
    if number % 5 == 2:
        raise ValueError(f"no page {number % 2} \\"here\\"")

async def sleeper():
    await asyncio.sleep(60)

async def parse():
    await asyncio.create_task(broken(), name="broken")

async def broken():
    await asyncio.sleep(0)
    {}["key"]

async def main():
    waiting = asyncio.create_task(sleeper(), name="waiting")
    await asyncio.gather(*(fetch(n) for n in range(20)), return_exceptions=True)
    waiting.cancel()
    try:
        await asyncio.create_task(parse(), name="parsing")
    except KeyError:
        print("handled")

asyncio.run(main())
"""


def report_of(directory: Path, program: str, *flags: str, name: str = "app.py") -> tuple[Outcome, str]:
    case = Case("", [*flags, "--report", name], {name: dedent(program)})
    case.write(directory)
    outcome = run([*segue_command(directory), "run"], case, directory)
    _, mark, report = outcome.stderr.partition("=== segue report ===\n")
    assert mark, outcome.stderr
    return outcome, report


def entry(report: str, first_line: str) -> list[str]:
    """The lines under a failed task's heading."""
    lines = report.splitlines()
    start = next(i for i, line in enumerate(lines) if re.fullmatch(rf"  \d+\. {re.escape(first_line)}", line))
    return [line.strip() for line in lines[start + 1 : start + 4]]


def edges(report: str) -> set[tuple[str, str]]:
    """Parent and child of every arrow, by the first line of their labels."""
    labels = dict(re.findall(r'^  (t\d+)\["(.*?)(?:<br/>.*)?"\]', report, re.MULTILINE))
    return {(labels[parent], labels[child]) for parent, child in re.findall(r"(t\d+) --> (t\d+)", report)}


def test_counts(tmp_path: Path) -> None:
    outcome, report = report_of(tmp_path, SCRAPER)
    assert (outcome.status, outcome.stdout) == (0, "handled\n")
    assert report.splitlines()[0] == "24 tasks: 17 finished, 6 failed, 1 cancelled, 0 pending"


def test_failed_tasks_name_site_and_cause(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, SCRAPER)
    assert entry(report, "broken: broken") == [
        "started at   app.py:12 parse",
        "failed with  KeyError: 'key'",
        'raised at    app.py:16 broken: {}["key"]',
    ]
    assert 'ValueError: no page 0 "here"' in report and 'ValueError: no page 1 "here"' in report
    assert "app.py:20 main" in report  # where gather's tasks were started


def test_a_failure_that_is_passed_on_names_the_task_it_came_from(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, SCRAPER)
    assert entry(report, "parsing: parse") == [
        "started at   app.py:23 main",
        "failed with  KeyError: 'key'",
        "passed on by its own task broken",
    ]
    assert report.index("broken: broken") < report.index("parsing: parse")


def test_tree(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, SCRAPER)
    assert "```mermaid\nflowchart TD\n" in report
    assert edges(report) >= {
        ("Task-1: main", "waiting: sleeper"),
        ("Task-1: main", "fetch ×16"),
        ("Task-1: main", "parsing: parse"),
        ("parsing: parse", "broken: broken"),
    }
    assert re.search(r'"waiting: sleeper<br/>[^"]*cancelled"\]:::cancelled', report)
    assert re.search(r'"broken: broken<br/>[^"]*failed: KeyError: \'key\'"\]:::failed', report)
    assert "no page 0 #quot;here#quot;" in report


def test_exception_group_names_what_is_in_it(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def fails(): raise LookupError("inner")
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(fails(), name="child")
        asyncio.run(main())
        """
    outcome, report = report_of(tmp_path, program)
    assert outcome.status == 1
    assert "LookupError: inner" in entry(report, "Task-1: main")[1]
    assert entry(report, "child: fails")[0] == "started at   app.py:5 main"


def test_cause_of_a_cause(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def main():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise RuntimeError("no result") from error
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    caused = "RuntimeError: no result (caused by ZeroDivisionError: division by zero)"
    assert entry(report, "Task-1: main")[1] == f"failed with  {caused}"


def test_line_is_the_programs_not_the_librarys(tmp_path: Path) -> None:
    program = """
        import asyncio, json
        async def main():
            json.loads("{")
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert entry(report, "Task-1: main")[2] == 'raised at    app.py:3 main: json.loads("{")'


def test_task_started_through_a_library_names_the_programs_line(tmp_path: Path) -> None:
    program = """
        import anyio
        async def child(): pass
        async def main():
            async with anyio.create_task_group() as group:
                group.start_soon(child)
        anyio.run(main)
        """
    _, report = report_of(tmp_path, program)
    assert re.search(r'__main__.child: [^"]*<br/>app.py:5 main"\]', report)


def test_large_tree_is_capped_and_says_so(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def leaf(n):
            if n == 199: raise ValueError("the one that matters")
        async def main():
            for n in range(200):
                exec(f"async def f{n}(): await asyncio.gather(leaf({n}), return_exceptions=True)", globals())
                await globals()[f"f{n}"]()
                await asyncio.create_task(globals()[f"f{n}"]())
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    nodes = re.findall(r"^  t\d+\[", report, re.MULTILINE)
    assert 20 <= len(nodes) <= 60
    left_out = re.search(r"and (\d+) more tasks in \d+ groups, left out", report)
    total = re.match(r"(\d+) tasks", report)
    assert left_out and total and int(left_out[1]) < int(total[1])
    assert "the one that matters" in report.partition("```mermaid")[2]


def test_ten_thousand_tasks_that_are_alike_are_one_node(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def work(): pass
        async def main():
            await asyncio.gather(*(work() for _ in range(10_000)))
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert edges(report) == {("Task-1: main", "work ×10000")}
    assert "No task failed." in report


def test_report_comes_after_everything_else(tmp_path: Path) -> None:
    program = """
        import asyncio, atexit, sys
        atexit.register(lambda: print("at exit", file=sys.stderr))
        async def main(): raise ValueError("last words")
        asyncio.run(main())
        """
    outcome, report = report_of(tmp_path, program)
    before = outcome.stderr.partition("=== segue report ===")[0]
    assert "ValueError: last words" in before and "at exit" in before
    assert report.endswith("```\n")


def test_recording_silences_no_warning(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def fails(): raise ValueError("nobody asks")
        async def main():
            asyncio.create_task(fails())
            await asyncio.sleep(0.01)
        asyncio.run(main())
        """
    outcome, _ = report_of(tmp_path, program)
    assert "Task exception was never retrieved" in outcome.stderr


def test_only_the_programs_own_process_reports(tmp_path: Path) -> None:
    program = """
        import asyncio, os, sys
        async def main(): pass
        asyncio.run(main())
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        """
    outcome, _ = report_of(tmp_path, program)
    assert outcome.stderr.count("=== segue report ===") == 1


def test_program_that_runs_segue_itself(tmp_path: Path) -> None:
    program = """
        import segue
        async def main(): pass
        segue.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("1 task: 1 finished, 0 failed")


def test_program_without_asyncio(tmp_path: Path) -> None:
    case = Case("", "--report app.py", {"app.py": "print(1)"})
    case.write(tmp_path)
    outcome = run([*segue_command(tmp_path), "run"], case, tmp_path)
    assert (outcome.status, outcome.stdout) == (0, "1\n")
    assert outcome.stderr == "segue: nothing to report: the program never imported asyncio\n"


def test_report_with_interpreter_options(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, SCRAPER, "-I")
    assert report.startswith("24 tasks:")
