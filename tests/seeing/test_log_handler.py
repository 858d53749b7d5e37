"""`segue.log.Handler`: who logs never waits, nothing is out of order, what is dropped is counted."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import segue
import segue.log
from conftest import Programs
from hypothesis import given, settings
from hypothesis import strategies as st


class Gate(logging.Handler):
    """A target that writes only while it is open, and keeps what it was given."""

    def __init__(self, is_open: bool = False) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.gate = threading.Event()
        self.reached = threading.Event()
        if is_open:
            self.gate.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.reached.set()
        self.gate.wait()
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def logger_for(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("shop", 1)
    logger.addHandler(handler)
    return logger


@pytest.fixture
def gate() -> Iterator[Gate]:
    target = Gate()
    yield target
    target.gate.set()


def test_who_logs_does_not_wait_for_the_target(gate: Gate) -> None:
    handler = segue.log.Handler(gate)
    log = logger_for(handler)

    async def main() -> None:
        for number in range(100):
            log.info("%d", number)

    asyncio.run(main())
    assert gate.messages == []
    gate.gate.set()
    handler.flush()
    assert gate.messages == [str(number) for number in range(100)]
    handler.close()


def test_who_logs_takes_no_lock(gate: Gate) -> None:
    """Another thread that was stopped in the middle of logging holds nobody up: its locks aren't asked for."""
    handler = segue.log.Handler(gate)
    log = logger_for(handler)
    log.info("so that there is a thread")
    gate.reached.wait()
    done = threading.Event()

    def logs() -> None:
        log.info("another")
        done.set()

    assert handler.lock is not None
    with handler.lock, handler._counting, handler._starting:
        thread = threading.Thread(target=logs)
        thread.start()
        assert done.wait(60)
    thread.join()
    gate.gate.set()
    handler.close()
    assert gate.messages == ["so that there is a thread", "another"]


def test_a_message_is_what_it_was_when_it_was_logged(gate: Gate) -> None:
    handler = segue.log.Handler(gate)
    log = logger_for(handler)
    items = ["tea"]
    log.info("items: %s", items)
    items.append("cake")
    gate.gate.set()
    handler.close()
    assert gate.messages == ["items: ['tea']"]


def test_when_it_is_full_the_lowest_and_oldest_make_room(gate: Gate) -> None:
    handler = segue.log.Handler(gate, capacity=4)
    log = logger_for(handler)
    log.info("at work")
    gate.reached.wait()
    for number in range(3):
        log.debug("debug %d", number)
    for number in range(3):
        log.warning("warning %d", number)
    log.debug("debug 3")  # the last of them waits
    log.info("info")
    log.error("error")  # info makes room
    log.info("too late")  # there is nothing lower than it
    gate.gate.set()
    handler.close()
    (said,) = (record for record in gate.records if record.name == "segue.log")
    assert said.levelname == "WARNING" and said.getMessage() == (
        "6 log records were dropped, since they came faster than they could be written: 4 DEBUG, 2 INFO"
    )
    gate.records.remove(said)
    assert gate.messages == ["at work", "warning 0", "warning 1", "warning 2", "error"]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.lists(st.sampled_from([10, 20, 30, 40]), max_size=40))
def test_any_order_of_levels(capacity: int, levels: list[int]) -> None:
    """As a list would do it: the oldest of the lowest level is dropped, the rest comes in order."""
    target = Gate()
    handler = segue.log.Handler(target, capacity)
    log = logger_for(handler)
    log.info("at work")
    target.reached.wait()
    expected: list[tuple[int, int]] = []
    dropped = 0
    for number, level in enumerate(levels):
        log.log(level, str(number))
        expected.append((level, number))
        if len(expected) > capacity:
            expected.remove(min(expected))
            dropped += 1
    target.gate.set()
    handler.close()
    written = [record for record in target.records[1:] if record.name == "shop"]
    assert [(record.levelno, int(record.getMessage())) for record in written] == expected
    said = [record.__dict__["dropped"] for record in target.records if record.name == "segue.log"]
    assert sum(said) == dropped


def test_many_threads_lose_nothing_and_stay_in_order() -> None:
    target = Gate(is_open=True)
    handler = segue.log.Handler(target, capacity=1_000_000)
    log = logger_for(handler)

    def logs(name: int) -> None:
        for number in range(2000):
            log.log(10 * (1 + number % 4), "%d %d", name, number)

    threads = [threading.Thread(target=logs, args=(name,)) for name in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    assert len(target.messages) == 10_000
    for name in range(5):
        mine = [int(text.split()[1]) for text in target.messages if text.startswith(f"{name} ")]
        assert mine == list(range(2000))


def test_many_threads_and_little_room_are_counted_exactly() -> None:
    target = Gate(is_open=True)
    handler = segue.log.Handler(target, capacity=10)
    log = logger_for(handler)

    def logs() -> None:
        for number in range(2000):
            log.log(10 * (1 + number % 4), "x")

    threads = [threading.Thread(target=logs) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    written = sum(record.name == "shop" for record in target.records)
    assert written + sum(record.__dict__.get("dropped", 0) for record in target.records) == 10_000


class Talkative(logging.Handler):
    """Logs while it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.log: Any = None
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.log.debug("writing a record")
        self.log.warning("trouble while writing")
        self.messages.append(record.getMessage())


def test_a_target_that_logs_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(said))
    target = Talkative()
    handler = segue.log.Handler(target)
    target.log = logger_for(handler)
    target.log.info("one")
    handler.close()
    target.log.info("after the end")
    assert target.messages == ["one", "after the end"]
    assert said.getvalue().splitlines() == ["trouble while writing"] * 2


def test_what_logs_while_it_is_collected() -> None:
    """In the middle of another record, in the same thread."""
    target = Gate(is_open=True)
    handler = segue.log.Handler(target)
    log = logger_for(handler)

    class Ends:
        def __del__(self) -> None:
            log.info("collected")

    class Text:
        def __str__(self) -> str:
            cycle: list[Any] = [Ends()]
            cycle.append(cycle)
            del cycle
            gc.collect()
            return "text"

    for _ in range(10):
        log.info("%s", Text())
    handler.close()
    assert sorted(target.messages) == ["collected"] * 10 + ["text"] * 10


def test_no_frame_is_kept_alive(gate: Gate) -> None:
    class Large:
        pass

    references = []

    def fail() -> None:
        large = Large()
        references.append(weakref.ref(large))
        raise LookupError("gone")

    handler = segue.log.Handler(gate)
    log = logger_for(handler)
    try:
        fail()
    except LookupError:
        log.exception("failed")
    gc.collect()
    assert references[0]() is None
    gate.gate.set()
    handler.close()
    (record,) = gate.records
    assert record.exc_info is None
    assert logging.Formatter().format(record).endswith("LookupError: gone")
    assert 'raise LookupError("gone")' in logging.Formatter().format(record)


def test_a_formatter_of_the_programs_own_formats_exceptions() -> None:
    class Short(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802
            return f"own: {ei[1]!r}"

    stream = io.StringIO()
    handler = segue.log.Handler(logging.StreamHandler(stream))
    handler.setFormatter(Short())
    log = logger_for(handler)
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("failed")
    handler.close()
    assert stream.getvalue() == "failed\nown: LookupError('gone')\n"


def test_other_handlers_see_the_record_as_it_was(gate: Gate) -> None:
    handler = segue.log.Handler(gate)
    log = logger_for(handler)
    other = Gate(is_open=True)
    log.addHandler(other)
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("failed %d", 5)
    (record,) = other.records
    assert record.exc_info is not None and record.args == (5,) and record.exc_text is None
    gate.gate.set()
    handler.close()


def test_levels_and_filters_of_both() -> None:
    target = Gate(is_open=True)
    target.setLevel(logging.WARNING)
    handler = segue.log.Handler(target, level="INFO")
    handler.addFilter(lambda record: "secret" not in record.msg)
    target.addFilter(lambda record: "hidden" not in record.msg)
    log = logger_for(handler)
    for text in ("secret", "hidden", "shown"):
        log.debug(text)
        log.info(text)
        log.error(text)
    handler.close()
    assert [(record.levelname, record.msg) for record in target.records] == [("ERROR", "shown")]


def test_a_wrong_call_is_reported_as_logging_does(capsys: pytest.CaptureFixture[str]) -> None:
    target = Gate(is_open=True)
    handler = segue.log.Handler(target)
    log = logger_for(handler)
    log.info("%d", "no number")
    log.info("fine")
    handler.close()
    assert "--- Logging error ---" in capsys.readouterr().err
    assert target.messages == ["fine"]


def test_a_target_that_fails_is_reported_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Fails(Gate):
        def handle(self, record: logging.LogRecord) -> Any:
            if record.msg == "bad":
                raise OSError("disk full")
            return super().handle(record)

    target = Fails(is_open=True)
    handler = segue.log.Handler(target)
    log = logger_for(handler)
    log.info("bad")
    log.info("good")
    handler.close()
    assert target.messages == ["good"]
    assert "disk full" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_target_that_ends_its_thread_gets_another() -> None:
    class Exits(Gate):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "bad":
                raise SystemExit
            super().emit(record)

    target = Exits(is_open=True)
    handler = segue.log.Handler(target)
    log = logger_for(handler)
    for text in ("bad", "good", "bad", "better"):
        log.info(text)
        thread = handler._thread
        if text == "bad" and thread is not None:
            thread.join()
    handler.close()
    assert target.messages == ["good", "better"]


def test_closing_a_loop_writes_what_was_logged() -> None:
    stream = io.StringIO()
    handler = segue.log.Handler(logging.StreamHandler(stream))
    log = logger_for(handler)

    async def main() -> None:
        for number in range(1000):
            log.info("%d", number)

    segue.run(main())
    assert stream.getvalue().splitlines() == [str(number) for number in range(1000)]
    handler.close()


def test_a_capacity_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        segue.log.Handler(Gate(), capacity=0)


# ---- the end of a program, and fork ----------------------------------------------------------------------------------


def test_everything_is_written_when_the_program_ends(programs: Programs) -> None:
    said = programs.python(
        """
        import atexit, logging, segue.log, time

        class Slow(logging.StreamHandler):
            def emit(self, record):
                time.sleep(0.0005)
                super().emit(record)

        log = logging.getLogger()
        log.addHandler(segue.log.Handler(Slow()))
        atexit.register(log.error, "at exit")
        for number in range(500):
            log.warning("%d", number)

        class Last:
            def __del__(self):
                logging.getLogger().error("at the very end")

        last = Last()
        last.self = last
        """
    )
    assert said.lines[:500] == [str(number) for number in range(500)]
    assert said.lines[500] == "at exit"
    assert said.lines[501:] in ([], ["at the very end"])


def test_a_target_that_hangs_does_not_keep_the_program(programs: Programs) -> None:
    said = programs.python(
        """
        import logging, segue.log, threading
        from segue._log import handler
        handler._PATIENCE = 0.05

        class Hangs(logging.Handler):
            def emit(self, record):
                threading.Event().wait()

        log = logging.getLogger()
        log.addHandler(segue.log.Handler(Hangs()))
        for number in range(5):
            log.warning("%d", number)

        class Last:
            def __del__(self):
                log.warning("at the very end")

        last = Last()
        """
    )
    assert said.status == 0
    assert "gave up waiting for <Hangs" in said.err and "5 records are not written" in said.err


FORKS = """
import logging, os, segue.log, sys

log = logging.getLogger()
log.addHandler(segue.log.Handler(logging.StreamHandler(sys.stdout)))
for number in range(200):
    log.warning("parent %d", number)
    if number % 20 == 0:
        child = os.fork()
        if not child:
            log.warning("child %d", number)
            logging.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
"""


def test_after_a_fork_both_go_on(programs: Programs) -> None:
    said = programs.python(FORKS, PYTHONWARNINGS="ignore::DeprecationWarning")
    assert said.err == ""
    lines = said.out.splitlines()
    assert [line for line in lines if line.startswith("parent")] == [f"parent {number}" for number in range(200)]
    assert [line for line in lines if line.startswith("child")] == [f"child {number}" for number in range(0, 200, 20)]


def test_a_fork_while_other_threads_log(programs: Programs) -> None:
    program = FORKS.replace(
        "for number in range(200)",
        "import threading\n"
        "threading.Thread(target=lambda: [log.warning('other %d', n) for n in range(20000)], daemon=True).start()\n"
        "for number in range(200)",
    )
    said = programs.python(program, PYTHONWARNINGS="ignore::DeprecationWarning")
    children = [line for line in said.out.splitlines() if line.startswith("child")]
    assert said.status == 0 and children == [f"child {number}" for number in range(0, 200, 20)]


def test_threads_end_with_their_handlers() -> None:
    before = threading.active_count()
    for _ in range(20):
        handler = segue.log.Handler(Gate(is_open=True))
        logger_for(handler).info("x")
        handler.close()
    assert threading.active_count() == before
