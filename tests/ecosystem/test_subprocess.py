"""Subprocess pipelines as programs write them: real commands, pipes between them, timeouts, signals."""

import asyncio
import hashlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import pytest


def test_pipeline_of_three_processes(run):
    words = [f"word{number * 7919 % 1000:03}" for number in range(20_000)]

    async def main():
        first_out, first_in = os.pipe()
        sort = await asyncio.create_subprocess_exec("sort", stdin=PIPE, stdout=first_in)
        os.close(first_in)
        unique = await asyncio.create_subprocess_exec("uniq", "-c", stdin=first_out, stdout=PIPE)
        os.close(first_out)

        async def feed():
            for word in words:
                sort.stdin.write(f"{word}\n".encode())
                await sort.stdin.drain()
            sort.stdin.close()
            await sort.stdin.wait_closed()

        async def collect():
            return [line.split() async for line in unique.stdout]

        _, lines = await asyncio.gather(feed(), collect())
        assert [await sort.wait(), await unique.wait()] == [0, 0]
        assert lines == [[b"20", f"word{number:03}".encode()] for number in range(1000)]

    run(main)


def test_shell_pipeline_and_exit_status(run):
    async def main():
        process = await asyncio.create_subprocess_shell(
            "tr a-z A-Z | rev; echo oops >&2; exit 7", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert await process.communicate(b"stressed\n") == (b"DESSERTS\n", b"oops\n")
        assert process.returncode == 7

    run(main)


def test_large_data_through_communicate(run):
    blob = os.urandom(16 << 20)

    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        output, _ = await process.communicate(blob)
        assert hashlib.sha256(output).digest() == hashlib.sha256(blob).digest()

    run(main)


def test_many_processes_at_once(run):
    async def one(number):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"echo {number}; exit {number % 8}", stdout=PIPE
        )
        output, _ = await process.communicate()
        return int(output), process.returncode

    async def main():
        assert await asyncio.gather(*map(one, range(60))) == [(number, number % 8) for number in range(60)]

    run(main)


def test_timeout_then_kill(run):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await process.wait()
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        stopped = await asyncio.create_subprocess_exec("sleep", "60")
        stopped.terminate()
        assert await stopped.wait() == -signal.SIGTERM

    run(main)


def test_child_that_stops_reading(run):
    async def main():
        process = await asyncio.create_subprocess_exec("head", "-c", "10", stdin=PIPE, stdout=PIPE)
        output, _ = await process.communicate(b"x" * (4 << 20))
        assert (output, process.returncode) == (b"x" * 10, 0)

    run(main)


def test_missing_program_and_working_folder(run, tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("no-such-program-anywhere")
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            "pwd; echo $GREETING",
            cwd=tmp_path,
            env={"GREETING": "hello"},
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await process.communicate()
        assert output.decode().splitlines() == [str(tmp_path), "hello"]

    run(main)


def test_conversation_line_by_line(run, python):
    program = "import sys\nfor line in sys.stdin: print(int(line) ** 2, flush=True)"

    async def main():
        process = await asyncio.create_subprocess_exec(
            python, "-c", program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        for number in range(200):
            process.stdin.write(f"{number}\n".encode())
            assert int(await process.stdout.readline()) == number**2
        process.stdin.close()
        assert await process.wait() == 0

    run(main)
