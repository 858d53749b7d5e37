"""Other programs: their streams, their end, and what happens to them when they are cancelled."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import segue
from segue import _process, lowlevel
from stepping import turns

SLEEP = ["sleep", "3600"]


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", "import sys; " + code]


ECHO = python("data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data); sys.stderr.buffer.write(data[::-1])")
FAIL = python("sys.stderr.write('why'); sys.exit(3)")


@pytest.fixture(params=["pidfd", "thread"], autouse=True)
def how_an_end_is_told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_process, "can_try_pidfd_open", request.param == "pidfd" and hasattr(os, "pidfd_open"))


@pytest.fixture
def no_new_descriptors() -> Iterator[None]:
    def count() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    # The first thread or process opens what stays.
    segue.run(segue.run_process(["true"]))
    before = count()
    yield
    assert count() == before


def test_run_process(no_new_descriptors: None) -> None:
    async def main() -> None:
        data = os.urandom(300_000)
        done = await segue.run_process(ECHO, stdin=data, capture_stdout=True, capture_stderr=True)
        assert (done.args, done.returncode, done.stdout, done.stderr) == (ECHO, 0, data, data[::-1])
        done = await segue.run_process(ECHO, stdin=b"ab", capture_stdout=True, stderr=subprocess.STDOUT)
        assert (done.stdout, done.stderr) == (b"abba", None)
        done = await segue.run_process("exit 3", shell=True, check=False)
        assert done.returncode == 3
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await segue.run_process(FAIL, capture_stderr=True)
        assert (caught.value.returncode, caught.value.stderr) == (3, b"why")
        with pytest.raises(FileNotFoundError):
            await segue.run_process(["/nowhere/nothing"], capture_stdout=True)
        # A program that doesn't read what it is sent.
        await segue.run_process(["true"], stdin=b"x" * 300_000)

    segue.run(main())


async def test_refusals() -> None:
    for options, error in (
        ({"stdin": "text"}, UnicodeError),
        ({"stdin": subprocess.PIPE}, ValueError),
        ({"stdout": subprocess.PIPE}, ValueError),
        ({"stderr": subprocess.PIPE}, ValueError),
        ({"stdout": None, "capture_stdout": True}, ValueError),
        ({"stderr": None, "capture_stderr": True}, ValueError),
        ({"text": True}, TypeError),
        ({"encoding": "utf-8"}, TypeError),
        ({"shell": True}, TypeError),
    ):
        with pytest.raises(error):
            await segue.run_process(["true"], **options)
    with pytest.raises(TypeError):
        await segue.run_process("true")


async def test_conversation() -> None:
    code = "[sys.stdout.write(f'{int(line) * 2}\\n') for line in sys.stdin]"
    async with segue.open_nursery() as nursery:
        process = await nursery.start(
            partial(segue.run_process, python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert process.returncode is None and "running" in repr(process)
        for number in (1, 21):
            await process.stdio.send_all(b"%d\n" % number)
            assert await process.stdio.receive_some(100) == b"%d\n" % (number * 2)
        await process.stdio.send_eof()
        assert await process.stdout.receive_some() == b""
        assert await process.wait() == 0
        await process.stdout.aclose()
    assert process.returncode == process.poll() == 0
    assert repr(process) == f"<segue.Process {process.args!r}: exited with status 0>"


async def test_many_tasks_wait_and_some_are_cancelled() -> None:
    process = await lowlevel.open_process(SLEEP)
    for cancel in (True, False):
        async with segue.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(process.wait)
            await turns()
            if cancel:
                nursery.cancel_scope.cancel()
            else:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert repr(process).endswith("exited with signal 9>")
    process.kill()  # nothing happens


async def test_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        process = await lowlevel.open_process(SLEEP)
        if number == signal.SIGTERM:
            process.terminate()
        else:
            process.send_signal(number)
        assert await process.wait() == -number


async def test_poll_while_others_wait() -> None:
    process = await lowlevel.open_process(SLEEP)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        await turns()
        process.kill()
        process._proc.wait()
        assert process.poll() == -signal.SIGKILL


def test_status_after_the_loop() -> None:
    process = segue.run(lowlevel.open_process(["true"]))
    while process.returncode is None:
        pass
    assert process.returncode == 0 and "exited" in repr(process)


async def test_status_that_nobody_can_learn() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = await lowlevel.open_process(SLEEP)
        process.kill()
        assert await process.wait() == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_cancelling_ends_the_process() -> None:
    async def run(task_status: segue.TaskStatus[segue.Process]) -> None:
        await segue.run_process(SLEEP, task_status=task_status)

    async with segue.open_nursery() as nursery:
        process = await nursery.start(run)
        nursery.cancel_scope.cancel()
    assert process.returncode == -signal.SIGTERM


async def test_task_cancel_ends_the_process() -> None:
    started: list[segue.Process] = []

    class Status:
        def started(self, value: Any = None) -> None:
            started.append(value)

    task = asyncio.create_task(segue.run_process(SLEEP, task_status=Status()))
    while not started:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode == -signal.SIGTERM


async def test_a_second_cancel_does_not_disturb_how_the_process_is_ended() -> None:
    asked, go = segue.Event(), segue.Event()
    seen: list[Any] = []

    async def deliver(process: segue.Process) -> None:
        asked.set()
        await go.wait()
        process.kill()
        try:
            await segue.sleep_forever()
        finally:  # cancelled, since the process has exited
            seen.append(process.returncode)

    task = asyncio.create_task(segue.run_process(SLEEP, deliver_cancel=deliver))
    await turns(5)
    task.cancel()
    await asked.wait()
    task.cancel()
    await turns(5)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [-signal.SIGKILL] and task.cancelling() == 2


async def test_deliver_cancel() -> None:
    seen: list[object] = []

    async def deliver(process: segue.Process) -> None:
        process.kill()
        try:
            await segue.sleep_forever()
        finally:
            seen.append(process.returncode)

    with segue.CancelScope() as scope:
        asyncio.get_running_loop().call_later(0.01, scope.cancel)
        await segue.run_process(SLEEP, deliver_cancel=deliver)
    assert scope.cancelled_caught and seen == [-signal.SIGKILL]

    async def fail(process: segue.Process) -> None:
        process.kill()
        raise KeyError("deliver")

    with pytest.raises(BaseExceptionGroup) as caught:
        with segue.CancelScope() as scope:
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
            await segue.run_process(SLEEP, deliver_cancel=fail)
    assert isinstance(caught.value.exceptions[0], KeyError)


async def test_a_process_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_process, "_PATIENCE", 0.01)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(3600)"
    with pytest.warns(RuntimeWarning, match="ignored SIGTERM"):
        async with segue.open_nursery() as nursery:
            process = await nursery.start(partial(segue.run_process, python(code), stdout=subprocess.PIPE))
            assert (await process.stdout.receive_some()).startswith(b"ready")
            nursery.cancel_scope.cancel()
    await process.stdout.aclose()
    assert process.returncode == -signal.SIGKILL


async def test_beside_asyncios_own_subprocesses() -> None:
    other = await asyncio.create_subprocess_exec("sleep", "3600")
    process = await lowlevel.open_process(SLEEP)
    other.kill()
    process.terminate()
    assert await process.wait() == -signal.SIGTERM
    assert await other.wait() == -signal.SIGKILL


async def test_path_of_a_program(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho $1\n")
    script.chmod(0o755)
    done = await segue.run_process([script, "argument"], capture_stdout=True)
    assert done.stdout == b"argument\n"


async def test_no_pipe_is_left_behind_by_a_program_that_cannot_start() -> None:
    await segue.run_process(["true"])
    before = set(os.listdir("/proc/self/fd"))
    with contextlib.suppress(PermissionError):
        await lowlevel.open_process(
            ["/dev/null"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    # Meanwhile the collector may have closed what another test had left.
    assert not set(os.listdir("/proc/self/fd")) - before
