"""`segue run --report`: which tasks failed, where they were started, why, and the tree they make."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest
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


def check_mermaid(report: str) -> None:
    """That the diagram is what the Mermaid parser takes: it was compared with `mermaid.parse` of Mermaid 11."""
    diagram = report.partition("```mermaid\n")[2].partition("\n```")[0].splitlines()
    assert diagram[0] == "flowchart TD"
    # In a label: no quote, no backquote, no comment or directive, no markup but line breaks, and # only as a code.
    text = r"(?:[^\"`%<>#&\\]|<br/>|#(?:\d+|quot|lt|gt|amp);)+"
    node = re.compile(rf'  (t\d+|more)\["{text}"\](?::::(?:failed|cancelled|pending))?')
    declared = set()
    for line in diagram[1:]:
        if match := node.fullmatch(line):
            declared.add(match[1])
        elif match := re.fullmatch(r"  (t\d+) --> (t\d+)", line):
            assert {match[1], match[2]} <= declared
        else:
            assert re.fullmatch(r"  classDef (failed|cancelled|pending) [a-z#0-9:,-]+", line), line


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
    check_mermaid(report)
    assert edges(report) >= {
        ("Task-1: main", "waiting: sleeper"),
        ("Task-1: main", "fetch ×16"),
        ("Task-1: main", "parsing: parse"),
        ("parsing: parse", "broken: broken"),
    }
    assert re.search(r'"waiting: sleeper<br/>[^"]*cancelled"\]:::cancelled', report)
    assert re.search(r'"broken: broken<br/>[^"]*failed: KeyError: \'key\'"\]:::failed', report)
    assert "no page 0 #quot;here#quot;" in report


def test_cancelled_tasks_name_who_asked(tmp_path: Path) -> None:
    program = """
        import asyncio, segue
        async def sleeper(): await asyncio.sleep(60)
        async def watch():
            sleeping = asyncio.create_task(sleeper(), name="sleeping")
            await asyncio.sleep(0)
            sleeping.cancel("too late")
            await asyncio.sleep(0)
        async def main():
            await asyncio.create_task(watch(), name="watching")
            with segue.move_on_after(0.01):
                async with segue.open_nursery() as nursery:
                    nursery.start_soon(sleeper)
            asyncio.create_task(sleeper(), name="forgotten")
            await asyncio.sleep(0)
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    cancelled = report.partition("Cancelled tasks\n")[2].partition("Task tree")[0]
    assert entry(cancelled, "sleeping: sleeper")[:2] == [
        "started at   app.py:4 watch",
        "by           Task.cancel (too late), task 'watching', app.py:6 watch",
    ]
    assert entry(cancelled, "__main__.sleeper: sleeper")[:2] == [
        "started at   app.py:12 main",
        "by           deadline, task 'Task-1', app.py:10 main",
    ]
    shutdown = "by           loop shutdown: the main task had ended"
    assert entry(cancelled, "forgotten: sleeper")[1] == shutdown


def test_tasks_that_never_finished_name_where_they_wait(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def inner(event): await event.wait()
        async def outer(): await inner(asyncio.Event())
        async def lost(): await asyncio.get_running_loop().create_future()
        async def main():
            asyncio.create_task(lost(), name="lost")
            await asyncio.sleep(0)
        loop = asyncio.new_event_loop()
        task = loop.create_task(outer(), name="stuck")
        loop.run_until_complete(main())
        import gc; gc.collect()
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("3 tasks: 1 finished, 0 failed, 0 cancelled, 2 pending\n")
    unfinished = report.partition("Tasks that never finished\n")[2]
    assert entry(unfinished, "stuck: outer")[:2] == [
        "started at   app.py:9 <module>",
        "waits at     app.py:2 inner: async def inner(event): await event.wait()",
    ]
    assert entry(unfinished, "lost: lost")[:2] == [
        "started at   app.py:6 main",
        "it was       destroyed while pending: nothing kept a reference to it",
    ]


def test_exceptions_that_nobody_asked_for_are_marked(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def fails(): raise ValueError("x")
        async def main():
            global kept
            kept = asyncio.create_task(fails(), name="kept")
            asyncio.create_task(fails(), name="dropped")
            await asyncio.wait([asked := asyncio.create_task(fails(), name="asked")])
            asked.exception()
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    unheard = "nobody asked for its exception: it was never retrieved"
    failed = report.partition("Task tree")[0].split("\n  ")
    assert [unheard in "".join(failed[n : n + 5]) for n, line in enumerate(failed) if ": fails" in line] == [
        True,
        True,
        False,
    ]
    assert failed.count("   " + unheard) == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def fails(): raise ValueError("at once")
        async def late():
            await asyncio.create_task(fails(), name="grandchild")
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            await asyncio.gather(asyncio.create_task(late(), name="child"), return_exceptions=True)
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("3 tasks: 1 finished, 2 failed")
    assert edges(report) == {("Task-1: main", "child: late"), ("child: late", "grandchild: fails")}


def test_tasks_of_a_factory_that_makes_asyncios_own(tmp_path: Path) -> None:
    program = """
        import asyncio
        def factory(loop, coro, **kwargs): return asyncio.Task(coro, loop=loop, **kwargs)
        async def fails(): raise ValueError("foreign")
        async def sleeper(): await asyncio.sleep(60)
        async def child():
            await asyncio.create_task(fails(), name="grandchild")
        async def main():
            asyncio.get_running_loop().set_task_factory(factory)
            waiting = asyncio.create_task(sleeper(), name="waiting")
            await asyncio.gather(asyncio.create_task(child(), name="child"), return_exceptions=True)
            waiting.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("4 tasks: 1 finished, 2 failed, 1 cancelled, 0 pending")
    assert edges(report) >= {("Task-1: main", "child: child"), ("child: child", "grandchild: fails")}
    assert entry(report, "grandchild: fails") == [
        "started at   app.py:6 child",
        "failed with  ValueError: foreign",
        'raised at    app.py:3 fails: async def fails(): raise ValueError("foreign")',
    ]


def test_every_loop_in_every_thread(tmp_path: Path) -> None:
    program = """
        import asyncio, threading
        async def work(): await asyncio.sleep(0)
        async def main(name):
            await asyncio.create_task(work(), name=name)
        threads = [threading.Thread(target=lambda n=n: asyncio.run(main(f"work {n}"))) for n in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        asyncio.run(main("work 3"))
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("8 tasks: 8 finished")
    assert {child for _, child in edges(report)} >= {"work 3: work"}


def test_a_renamed_task_has_its_last_name(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def main():
            asyncio.current_task().set_name("renamed")
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert 't1["renamed: main<br/>' in report


def test_many_tasks_are_counted_and_the_failed_ones_kept(tmp_path: Path) -> None:
    """More than are kept for themselves, a failure among the first: memory is tested in crates/trace."""
    program = """
        import asyncio
        async def work(n):
            if n in (7, 149_000): raise ValueError(f"number {n}")
        async def main():
            for start in range(0, 150_000, 1000):
                await asyncio.gather(*map(work, range(start, start + 1000)), return_exceptions=True)
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert report.startswith("150001 tasks: 149999 finished, 2 failed")
    assert "ValueError: number 7" in report and "ValueError: number 149000" in report
    left_out = re.search(r"and (\d+) more tasks in 1 groups, left out", report)
    drawn = re.search(r"work ×(\d+)", report)
    assert left_out and drawn and int(left_out[1]) + int(drawn[1]) == 149_998


def test_names_and_messages_cannot_break_the_report(tmp_path: Path) -> None:
    program = r"""
        import asyncio
        names = ['"', "end", "1. x", "- y", "a\nb", "`md`", "[x](y)", "日本", "#quot;", "]--x", "%%{init}%%"]
        names += ["\\", "\ud800"]
        async def fails(name): raise ValueError(name + "\x1b[31m red \x00 \u202e <b> %% ; \n two")
        async def main():
            for name in names:
                await asyncio.gather(asyncio.create_task(fails(name), name=name), return_exceptions=True)
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    assert all(character.isprintable() or character == "\n" for character in report)
    check_mermaid(report)
    assert len(edges(report)) == 13


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


def test_what_was_being_handled(tmp_path: Path) -> None:
    program = """
        import asyncio
        class Broken(Exception):
            def __str__(self): raise TypeError
        async def main():
            try:
                raise Broken
            except Broken:
                raise RuntimeError("while cleaning up")
        asyncio.run(main())
        """
    _, report = report_of(tmp_path, program)
    handling = "RuntimeError: while cleaning up (while handling Broken: <its str() failed: TypeError>)"
    assert entry(report, "Task-1: main")[1] == f"failed with  {handling}"


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
    check_mermaid(report)
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


def test_program_without_tasks(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, "import asyncio")
    assert report == "no task was started\n"


def test_report_with_interpreter_options(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, SCRAPER, "-I")
    assert report.startswith("24 tasks:")


def test_deeply_nested_exception_group(tmp_path: Path) -> None:
    program = """
        import asyncio
        async def fails():
            error = LookupError("inner")
            for _ in range(100_000):
                error = ExceptionGroup("outer", [error])
            raise error
        async def main():
            task = asyncio.create_task(fails(), name="child")
            await asyncio.wait([task])
            error = task.exception()
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            print(error)
        asyncio.run(main())
        """
    outcome, report = report_of(tmp_path, program)
    assert outcome.status == 0
    assert "LookupError: inner" in entry(report, "child: fails")[1]


def test_an_interrupt_out_of_an_exceptions_text_leaves_the_loop(tmp_path: Path) -> None:
    program = """
        import asyncio
        class Odd(Exception):
            def __str__(self): raise SystemExit(3)
        async def fails(): raise Odd
        async def main():
            await asyncio.wait([asyncio.create_task(fails())])
        asyncio.run(main())
        """
    outcome, _ = report_of(tmp_path, program)
    assert outcome.status == 3
