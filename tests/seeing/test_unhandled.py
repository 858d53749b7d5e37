"""What `segue run --explain` prints when a program fails: the whole text, program by program."""

from __future__ import annotations

import re
import sys
from textwrap import dedent

import pytest
from conftest import Programs, Said, without_colour


def explained(said: Said) -> str:
    """Without what differs between versions: how many frames of asyncio's there are."""
    return re.sub(r"\.\.\. \d+ frames? in ([\w, ]+) \.\.\.", r"... frames in \1 ...", said.err)


def text(expected: str) -> str:
    return dedent(expected).lstrip("\n")


AWAITED = """
import asyncio

async def fetch(page):
    await asyncio.sleep(0)
    raise LookupError(f"no page {page}")

async def parse(page):
    return await asyncio.create_task(fetch(page), name="fetch 7")

async def main():
    await asyncio.create_task(parse(7), name="parse 7")

asyncio.run(main())
"""


def test_the_call_chain_goes_across_tasks(programs: Programs) -> None:
    said = programs.segue(AWAITED, "--explain")
    assert said.status == 1
    assert explained(said) == text("""
        LookupError: no page 7
          in task 'fetch 7' (fetch)
            started by 'parse 7' (parse) at app.py:8 parse
                    by 'Task-1' (main) at app.py:11 main
                    by the program at app.py:13 <module>
            app.py:5 fetch: raise LookupError(f"no page {page}")
          awaited by task 'parse 7' (parse)
            app.py:8 parse: return await asyncio.create_task(fetch(page), name="fetch 7")
          awaited by task 'Task-1' (main)
            app.py:11 main: await asyncio.create_task(parse(7), name="parse 7")
          out of the event loop
            app.py:13 <module>: asyncio.run(main())
            ... frames in asyncio ...
        """)


NURSERY = """
import segue
import segue.testing

async def get(page):
    if page == 2:
        await segue.testing.wait_all_tasks_blocked()
        raise LookupError("no page 2")
    await segue.sleep_forever()

async def wait_for(event):
    await event.wait()

async def main():
    async with segue.open_nursery() as nursery:
        for page in range(4):
            nursery.start_soon(get, page, name=f"p{page}")
        nursery.start_soon(wait_for, segue.Event())

segue.run(main())
"""


def test_a_nursery_says_what_else_ran_in_it(programs: Programs) -> None:
    said = programs.segue(NURSERY, "--explain")
    assert explained(said) == text("""
        ExceptionGroup: unhandled errors in a nursery (1 error in it)
          in task 'Task-1' (main)
            started by the program at app.py:19 <module>
            app.py:14 main: async with segue.open_nursery() as nursery:
            ... frames in segue ...
          out of the event loop
            app.py:19 <module>: segue.run(main())
            ... frames in segue, asyncio ...
        └─ LookupError: no page 2
             in task 'p2' (get)
               started by 'Task-1' (main) at app.py:16 main
                       by the program at app.py:19 <module>
               app.py:7 get: raise LookupError("no page 2")
               beside it in the nursery of 'Task-1' (main):
                 3 × 'p0', 'p1', 'p3' (get) wait for sleep_forever() at app.py:8 get: await segue.sleep_forever()
                 '__main__.wait_for' (wait_for) waits for event.wait() at app.py:11 wait_for: await event.wait()
        """)


MANY = """
import asyncio

class NoPage(Exception):
    pass

async def fetch(page):
    await asyncio.sleep(0)
    try:
        {}[page]
    except KeyError as error:
        raise NoPage(page) from error

async def odd():
    await asyncio.sleep(0)
    raise OSError("broken")

async def main():
    async with asyncio.TaskGroup() as group:
        for page in range(10_000):
            group.create_task(fetch(page), name=f"page {page}")
        group.create_task(odd(), name="odd")

asyncio.run(main())
"""


def test_ten_thousand_that_fail_alike_are_one_entry(programs: Programs) -> None:
    said = programs.segue(MANY, "--explain")
    assert len(said.lines) < 40, said.err
    assert said.lines[0] == "ExceptionGroup: unhandled errors in a TaskGroup (10,001 errors in it)"
    start = said.lines.index("├─ 10,000 × NoPage: 0")
    assert said.lines[start + 1 : start + 6] == [
        "│    with different messages: 0; 1; 2; ...",
        "│    in tasks 'page 0', 'page 1', 'page 2', 'page 3' and 9,996 more (fetch)",
        "│      started by 'Task-1' (main) at app.py:20 main",
        "│              by the program at app.py:23 <module>",
        "│      app.py:11 fetch: raise NoPage(page) from error",
    ]
    assert "│    caused by KeyError: 0" in said.lines
    assert "└─ OSError: broken" in said.lines


CANCELLED = """
import asyncio

async def listen():
    await asyncio.Event().wait()

async def main():
    task = asyncio.create_task(listen(), name="listener")
    await asyncio.sleep(0)
    task.cancel("no more work")
    await task

asyncio.run(main())
"""


def test_a_cancellation_says_who_and_where(programs: Programs) -> None:
    said = programs.segue(CANCELLED, "--explain")
    lines = said.lines
    assert lines[:4] == [
        "asyncio.exceptions.CancelledError: no more work",
        "  cancelled by Task.cancel (no more work), task 'Task-1', at app.py:9 main: task.cancel(\"no more work\")",
        "  in task 'listener' (listen)",
        "    started by 'Task-1' (main) at app.py:7 main",
    ]
    assert "    app.py:4 listen: await asyncio.Event().wait()" in lines
    assert lines.index("  awaited by task 'Task-1' (main)") + 1 == lines.index("    app.py:10 main: await task")


def test_a_deadline_says_where_it_was_set(programs: Programs) -> None:
    said = programs.segue(
        """
        import segue

        async def main():
            with segue.fail_after(0.001):
                await segue.sleep_forever()

        segue.run(main())
        """,
        "--explain",
    )
    assert said.lines[0].startswith("segue.TooSlowError: cancelled by deadline") or "TooSlowError" in said.lines[0]
    assert "in task 'Task-1' (main)" in said.err
    assert re.search(r"cancelled by deadline.*, at app.py:4 main: with segue.fail_after\(0.001\):", said.err), said.err


NEVER = """
import asyncio

async def forgotten():
    raise ValueError("nobody asks")

async def main():
    task = asyncio.create_task(forgotten(), name="audit")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task

asyncio.run(main())
"""


def test_what_was_never_retrieved_is_explained(programs: Programs) -> None:
    said = programs.segue(NEVER, "--explain")
    assert said.status == 0
    assert said.lines[0] == "Task exception was never retrieved"
    assert said.lines[2:] == [
        "ValueError: nobody asks",
        "  in task 'audit' (forgotten)",
        "    started by 'Task-1' (main) at app.py:7 main",
        "            by the program at app.py:12 <module>",
        '    app.py:4 forgotten: raise ValueError("nobody asks")',
    ]


def test_a_thread_with_a_loop_of_its_own(programs: Programs) -> None:
    said = programs.segue(AWAITED.replace("asyncio.run(main())", """
import threading
thread = threading.Thread(target=lambda: asyncio.run(main()), name="scraper")
thread.start()
thread.join()
"""), "--explain")
    assert said.status == 0
    assert said.lines[:3] == ["Exception in thread scraper:", "LookupError: no page 7", "  in task 'fetch 7' (fetch)"]


def test_more_levels_of_causes_and_groups(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio

        async def leaf(text):
            raise ValueError(text)

        async def inner():
            async with asyncio.TaskGroup() as group:
                group.create_task(leaf("one"), name="one")
                group.create_task(leaf("two"), name="two")

        async def main():
            try:
                await asyncio.create_task(inner(), name="inner")
            except* ValueError as group:
                raise RuntimeError("all of them failed") from group

        asyncio.run(main())
        """,
        "--explain",
    )
    lines = [line for line in said.lines if not line.lstrip().startswith(("app.py", "...", "started", "by "))]
    assert lines[0] == "RuntimeError: all of them failed"
    assert "  caused by ExceptionGroup: unhandled errors in a TaskGroup (2 errors in it)" in lines
    assert "  └─ 2 × ValueError: one" in lines
    assert "       with different messages: one; two" in lines
    assert "       in tasks 'one', 'two' (leaf)" in lines


# ---- nothing more to say, and exactness by default -------------------------------------------------------------------

PLAIN = """
import asyncio

def fail():
    raise LookupError("before any task")

async def main():
    pass

asyncio.run(main())
fail()
"""


def test_without_tasks_the_traceback_is_pythons(programs: Programs) -> None:
    assert programs.segue(PLAIN, "--explain").err == programs.python(PLAIN).err


@pytest.mark.parametrize("program", [AWAITED, MANY.replace("10_000", "5"), CANCELLED], ids=["one", "many", "cancelled"])
def test_without_the_option_the_traceback_is_pythons(programs: Programs, program: str) -> None:
    plain, on_segue = programs.python(program).err, programs.segue(program).err
    assert re.sub(r"line \d+", "", on_segue) == re.sub(r"line \d+", "", plain)


def test_a_programs_own_hook_stays(programs: Programs) -> None:
    own = "import sys\nsys.excepthook = lambda kind, exc, tb: print('own hook', kind.__name__)\n"
    assert programs.segue(own + AWAITED, "--explain").out == "own hook LookupError\n"
    set_later = AWAITED.replace("asyncio.run", own + "asyncio.run")
    assert programs.segue(set_later, "--explain").out == "own hook LookupError\n"


def test_a_syntax_error_is_shown_as_ever(programs: Programs) -> None:
    said = programs.segue("import asyncio\nexec('a b')\n", "--explain")
    assert said.err == programs.python("import asyncio\nexec('a b')\n").err


def test_the_environment_asks_for_it_too(programs: Programs) -> None:
    assert programs.segue(AWAITED, SEGUE_EXPLAIN="1").lines[1] == "  in task 'fetch 7' (fetch)"
    assert programs.segue(AWAITED, SEGUE_EXPLAIN="0").lines[0].startswith("Traceback")
    every = programs.segue(AWAITED, SEGUE_EXPLAIN="all").err
    assert "... " not in every and "asyncio/runners.py:" in every


@pytest.mark.parametrize("flags", [["-I"], ["-X", "dev"], ["-E", "-s"]], ids=" ".join)
def test_with_pythons_own_options(programs: Programs, flags: list[str]) -> None:
    assert "  in task 'fetch 7' (fetch)" in programs.segue(AWAITED, "--explain", *flags).lines


def test_a_function_in_a_program(programs: Programs) -> None:
    program = "import segue.inspect\nsegue.inspect.explain_errors()\n" + AWAITED.replace("asyncio.run(", "segue.run(")
    assert programs.python(program).lines[1] == "  in task 'fetch 7' (fetch)"


def test_ctrl_c_still_ends_the_program_by_its_signal(programs: Programs) -> None:
    said = programs.segue(
        """
        import asyncio, os, signal

        async def main():
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)

        asyncio.run(main())
        """,
        "--explain",
    )
    assert said.status == -2
    assert said.lines[0] == "KeyboardInterrupt"
    assert "cancelled by signal" in said.err and "app.py:5 main: await asyncio.sleep(60)" in said.err


# ---- colour and odd terminals ----------------------------------------------------------------------------------------


def test_colour_on_a_terminal_and_nowhere_else(programs: Programs) -> None:
    plain = programs.segue(AWAITED, "--explain").err
    assert "\x1b" not in plain
    coloured = programs.on_a_terminal(AWAITED, "--explain")
    assert coloured.startswith("\x1b[1;31mLookupError\x1b[0m: no page 7\n")
    assert without_colour(coloured) == plain
    assert programs.on_a_terminal(AWAITED, "--explain", NO_COLOR="1") == plain
    assert programs.on_a_terminal(AWAITED, "--explain", TERM="dumb") == plain
    assert programs.segue(AWAITED, "--explain", FORCE_COLOR="1").err == coloured
    assert programs.on_a_terminal(AWAITED, "--explain", PYTHON_COLORS="0", FORCE_COLOR="1") == plain


def test_what_the_program_says_cannot_act_on_the_terminal(programs: Programs) -> None:
    said = programs.on_a_terminal(AWAITED.replace("no page {page}", "\\x1b]0;title\\x07\\n  in task 'x'"), "--explain")
    assert "\x1b]" not in said and "\\x1b]0;title\\x07" in said


def test_a_terminal_that_knows_ascii_only(programs: Programs) -> None:
    said = programs.segue(MANY.replace("10_000", "3"), "--explain", PYTHONIOENCODING="ascii")
    assert any(line.startswith("|- 3 x NoPage") for line in said.lines), said.err


EAGER = AWAITED.replace(
    "async def main():",
    "async def main():\n    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)",
)

if sys.version_info >= (3, 12):  # eager tasks came with it

    def test_eager_tasks_of_asyncio_do_not_break_it(programs: Programs) -> None:
        said = programs.segue(EAGER, "--explain")
        assert said.lines[0] == "LookupError: no page 7" and "app.py:5 fetch" in said.err
