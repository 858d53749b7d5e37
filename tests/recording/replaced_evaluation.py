"""Run by test_running_frames.py: frames are evaluated by a function of our own, which only calls the interpreter's.

In machine code, since what a function in Python did would be evaluated by it again. Says "right" if the places of
tasks are.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import platform
import sys

import segue
from segue import _core

JUMP = {
    "x86_64": (b"\x48\xb8", b"\xff\xe0"),  # mov rax, address; jmp rax
    "aarch64": (b"\x50\x00\x00\x58\x00\x02\x1f\xd6", b""),  # ldr x16, .+8; br x16
}
kept = []


def replace() -> None:
    python = ctypes.pythonapi
    address = ctypes.cast(python._PyEval_EvalFrameDefault, ctypes.c_void_p).value
    assert address is not None
    before, after = JUMP[platform.machine()]
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(before + address.to_bytes(8, "little") + after)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    python.PyInterpreterState_Get.restype = ctypes.c_void_p
    python._PyInterpreterState_SetEvalFrameFunc.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    python._PyInterpreterState_SetEvalFrameFunc.restype = None
    python._PyInterpreterState_SetEvalFrameFunc(python.PyInterpreterState_Get(), start)


async def waits() -> None:
    await asyncio.sleep(3600)  # it waits here


async def main() -> None:
    log = _core._record_every_loop()  # begun below, before there was a loop
    task = asyncio.create_task(waits())  # it starts here
    await asyncio.sleep(0)
    here, line = main.__code__, main.__code__.co_firstlineno
    started, suspended = f"{here.co_filename}:{line + 2} main", f"{here.co_filename}:{line - 3} waits"
    sites = [entry["site"] for entry in log.tasks() if entry["coroutine"] == "waits"]
    assert sites == [started], sites
    assert log.suspended(task)[1] == suspended, log.suspended(task)
    read, asked = _core._frames(), _core._frames(through_api=True)
    assert asked is not None
    # Where the frames can't be read, the API is asked.
    assert read is None or read[1:] == asked[1:]
    task.cancel()


_core._record_every_loop()
if sys.argv[1] == "before":
    replace()
    segue.run(main())
else:
    assert _core._frames() is not None
    replace()
    segue.run(main())
    assert _core._frames() is not None
print("right")
