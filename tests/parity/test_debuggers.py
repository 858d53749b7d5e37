"""`python -m asyncio ps` and `pstree` (CPython 3.14 and later) read the tasks of another process out of its memory."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys

async def leaf(event):
    await event.wait()

async def middle(event):
    async with asyncio.TaskGroup() as group:
        group.create_task(leaf(event), name="leaf 1")
        group.create_task(leaf(event))

async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(middle(event), name="middle"), asyncio.create_task(asyncio.sleep(0))]
    await tasks[1]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    event.set()
    await tasks[0]

if sys.argv[1] == "segue":
    import segue
    segue.run(main())
else:
    asyncio.run(main())
"""


def seen_by(command: str, loop_name: str) -> str:
    """What the command prints about the program, without numbers that differ from run to run."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, loop_name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        seen = subprocess.run(
            [sys.executable, "-m", "asyncio", command, str(program.pid)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        program.communicate("go on\n", timeout=60)
    assert program.returncode == 0
    return re.sub(r" +", " ", re.sub(r"\b(0x[0-9a-f]+|\d{3,})\b", "N", seen.stdout))


if sys.version_info >= (3, 14):

    @pytest.mark.parametrize("command", ["ps", "pstree"])
    def test_a_debugger_sees_the_same_tasks(command):
        seen = seen_by(command, "segue")
        assert "leaf 1" in seen
        assert seen == seen_by(command, "asyncio")
