"""`segue.log`: which task logged, lines for people, JSON for machines, colour."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import segue
import segue.log
from conftest import Programs, without_colour
from test_unhandled import NEVER

Run = Callable[[Any], Any]


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger that nobody else hears."""
    logger = logging.Logger("shop", logging.DEBUG)
    logger.manager = logging.Logger.manager
    yield logger


def on(log: logging.Logger, formatter: logging.Formatter) -> io.StringIO:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log.addHandler(handler)
    return stream


def test_the_filter_says_which_task(run: Run, log: logging.Logger) -> None:
    stream = on(log, logging.Formatter("%(task)s %(task_id)d %(nursery)s: %(message)s"))
    log.handlers[0].addFilter(segue.log.TaskFilter())

    async def order() -> None:
        log.info("one")
        await asyncio.sleep(0)
        log.info("two")

    async def main() -> None:
        await asyncio.create_task(order(), name="order 1")
        asyncio.get_running_loop().call_soon(log.info, "callback")
        await asyncio.sleep(0)

    log.info("before")
    run(main())
    before, one, two, callback = stream.getvalue().splitlines()
    assert before == "- 0 -: before" and callback == "- 0 -: callback"
    assert one.startswith("order 1 ") and one.endswith(" -: one")
    assert one.split()[2] == two.split()[2] != "0"


def test_numbers_of_tasks_are_their_own(run: Run, log: logging.Logger) -> None:
    stream = on(log, logging.Formatter("%(task_id)d"))
    log.handlers[0].addFilter(segue.log.TaskFilter())

    async def order() -> None:
        log.info("")

    async def main() -> None:
        await asyncio.gather(*(order() for _ in range(50)))

    run(main())
    run(main())
    assert len(set(stream.getvalue().split())) == 100


def test_the_nursery_is_named_by_its_owner(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter("json"))

    async def order() -> None:
        log.info("in it")

    async def main() -> None:
        async with segue.open_nursery() as nursery:
            nursery.start_soon(order, name="order 1")

    segue.run(main())
    found = json.loads(stream.getvalue())
    assert (found["task"], found["nursery"]) == ("order 1", "Task-1") or found["nursery"].startswith("Task-")


def test_a_line_for_people(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter(color=False, datefmt="TIME"))

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("order 1")
        log.info("received %d", 5)
        log.warning("two lines\nTIME INFO forged: \x1b[2J\u2028x")

    log.info("outside")
    segue.run(main())
    assert stream.getvalue().splitlines() == [
        "TIME INFO     shop: outside",
        "TIME INFO     [order 1] shop: received 5",
        "TIME WARNING  [order 1] shop: two lines",
        "    TIME INFO forged: \\x1b[2J\\u2028x",
    ]


def test_the_time_of_a_line(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter(color=False))
    log.info("x")
    datetime.datetime.strptime(stream.getvalue().split()[0], "%H:%M:%S.%f")


def test_exceptions_in_lines(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter(color=False, datefmt="TIME"))

    async def fail() -> None:
        raise LookupError("gone")

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except ExceptionGroup:
            log.exception("many")
        try:
            await fail()
        except LookupError:
            log.exception("one")

    segue.run(main())
    text = stream.getvalue()
    many, one = text.split("TIME ERROR")[1:]
    assert "\n    ExceptionGroup: unhandled errors in a TaskGroup (1 error in it)\n" in many
    assert "\n    └─ LookupError: gone\n" in many
    assert "\n    Traceback (most recent call last):\n" in one and one.endswith("\n    LookupError: gone\n")


def test_json(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter("json"))

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("order 1")
        log.info("received %d", 5, extra={"order": 5, "items": ["tea"]})
        try:
            raise LookupError("gone")
        except LookupError:
            log.exception("failed\nbadly", stack_info=True)

    segue.run(main())
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert datetime.datetime.fromisoformat(first["ts"].removesuffix("Z")) is not None and first["ts"].endswith("Z")
    assert {name: first[name] for name in ("level", "logger", "message", "task", "extra")} == {
        "level": "INFO",
        "logger": "shop",
        "message": "received 5",
        "task": "order 1",
        "extra": {"order": 5, "items": ["tea"]},
    }
    assert isinstance(first["task_id"], int) and first["nursery"] is None and "exception" not in first
    assert first["place"]["file"] == __file__ and first["place"]["function"] == "main"
    assert second["message"] == "failed\nbadly" and second["stack"].startswith("Stack (most recent call last)")
    exception = second["exception"]
    assert (exception["type"], exception["message"]) == ("LookupError", "gone")
    assert exception["call_chain"][0]["frames"][-1]["source"] == 'raise LookupError("gone")'


class NoRepr:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@pytest.mark.parametrize(
    "value", [object(), NoRepr(), float("nan"), {1: 2, (3, 4): 5}, {"a": NoRepr(), "b": 1}, "\ud800", {1, 2}, b"x"]
)
def test_whatever_is_in_a_record_is_json(log: logging.Logger, value: Any) -> None:
    stream = on(log, segue.log.Formatter("json"))
    log.info("%s", "x\ud800", extra={"value": value})
    line = stream.getvalue()
    assert line.isascii()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert "value" in found["extra"]
    if type(value) is dict and "b" in value:
        assert found["extra"]["value"]["b"] == 1


def test_a_cycle_in_a_record(log: logging.Logger) -> None:
    stream = on(log, segue.log.Formatter("json"))
    value: list[Any] = []
    value.append(value)
    log.info("x", extra={"value": value, "other": 5})
    assert json.loads(stream.getvalue())["extra"] == {"value": "[[...]]", "other": 5}


def test_a_style_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="'text' or 'json', not 'xml'"):
        segue.log.Formatter("xml")  # type: ignore[arg-type]


# ---- setup -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, logging, segue, segue.log, sys
segue.log.setup(OPTIONS)
log = logging.getLogger("shop")

async def order(number):
    log.info("received")
    log.debug("details")
    await asyncio.sleep(0)
    if number == 2:
        log.warning("out of stock")

async def main():
    async with segue.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(order, number, name=f"order {number}")

segue.run(main())
log.error("the end")
"""


def test_one_call_sets_it_all_up(programs: Programs) -> None:
    said = programs.python(PROGRAM.replace("OPTIONS", ""))
    assert [line.split(" ", 1)[1] for line in said.lines] == [
        "INFO     [order 1] shop: received",
        "INFO     [order 2] shop: received",
        "WARNING  [order 2] shop: out of stock",
        "ERROR    shop: the end",
    ]


def test_levels_json_and_files(programs: Programs) -> None:
    said = programs.python(PROGRAM.replace("OPTIONS", "'DEBUG', json=True, file='shop.log'"))
    assert said.err == ""
    records = [json.loads(line) for line in (programs.folder / "shop.log").read_text().splitlines()]
    mine = [(record["level"], record["task"], record["nursery"]) for record in records if record["logger"] == "shop"]
    assert mine == [
        ("INFO", "order 1", "Task-1"),
        ("DEBUG", "order 1", "Task-1"),
        ("INFO", "order 2", "Task-1"),
        ("DEBUG", "order 2", "Task-1"),
        ("WARNING", "order 2", "Task-1"),
        ("ERROR", None, None),
    ]


def test_an_open_file_and_a_second_call(programs: Programs) -> None:
    said = programs.python(PROGRAM.replace("OPTIONS", "file=sys.stdout); segue.log.setup('WARNING', file=sys.stdout"))
    assert said.err == "" and [line.split()[1] for line in said.out.splitlines()] == ["WARNING", "ERROR"]


def test_colour_on_a_terminal(programs: Programs) -> None:
    program = PROGRAM.replace("OPTIONS", "")
    coloured = programs.on_a_terminal(program)
    assert "\x1b[33mWARNING \x1b[0m \x1b[36m[order 2]\x1b[0m shop: out of stock" in coloured
    assert "\x1b" not in programs.segue(program).err
    assert "\x1b" not in programs.on_a_terminal(program, NO_COLOR="1")
    assert "\x1b" not in programs.on_a_terminal(PROGRAM.replace("OPTIONS", "color=False"))
    assert "\x1b[33m" in programs.segue(program, FORCE_COLOR="1").err
    assert "\x1b[33m" in programs.segue(PROGRAM.replace("OPTIONS", "color=True")).err
    lines = [line.split(" ", 1)[1] for line in without_colour(coloured).splitlines()]
    assert lines[0] == "INFO     [order 1] shop: received"


def test_what_the_loop_reports_is_a_record_like_others(programs: Programs) -> None:
    program = "import segue.log\nsegue.log.setup(json=True)\n" + NEVER
    started_at = program[: program.index("asyncio.create_task")].count("\n") + 1
    said = programs.segue(program, "--explain")
    (record,) = map(json.loads, said.lines)
    assert record["logger"] == "asyncio" and record["message"].startswith("Task exception was never retrieved")
    (stretch,) = record["exception"]["call_chain"]
    assert stretch["task"]["name"] == "audit" and stretch["started_by"][0]["place"]["line"] == started_at
