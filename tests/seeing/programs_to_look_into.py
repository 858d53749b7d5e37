"""Programs that `segue tree`, `stuck`, `top` and `view` look into, one for each way of being busy. Tests start them.

segue run programs_to_look_into.py idle|sleep|busy|native|waits [number]
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time

import segue

READY = "ready"


async def holds(lock: segue.Lock) -> None:
    async with lock:
        await segue.Event().wait()


async def wants(lock: segue.Lock) -> None:
    async with lock:
        pass


async def ticks() -> None:
    while True:
        await asyncio.sleep(0.05)


async def sleeps_in_python() -> None:
    await asyncio.sleep(0.1)
    print(READY, flush=True)
    time.sleep(1000)  # blocks, without the GIL


async def is_busy() -> None:
    await asyncio.sleep(0.1)
    print(READY, flush=True)
    while True:  # blocks, in Python
        sum(range(100))


async def is_native() -> None:
    await asyncio.sleep(0.1)
    usleep = ctypes.PyDLL(None).usleep
    print(READY, flush=True)
    usleep(1_000_000_000)  # blocks, with the GIL


async def says_ready() -> None:
    await asyncio.sleep(0.1)
    print(READY, flush=True)


async def main(how: str) -> None:
    lock = segue.Lock()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(holds, lock)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        nursery.start_soon(wants, lock)
        for _ in range(10):
            nursery.start_soon(ticks)
        what = {"sleep": sleeps_in_python, "busy": is_busy, "native": is_native}.get(how, says_ready)
        nursery.start_soon(what)
        nursery.start_soon(segue.sleep_forever, name="rings\x1b[2J")


async def many(count: int) -> None:
    event = asyncio.Event()
    tasks = [asyncio.create_task(event.wait()) for _ in range(count)]
    await asyncio.sleep(0.1)
    print(READY, flush=True)
    await asyncio.sleep(1000)
    del tasks


if __name__ == "__main__":
    if sys.argv[1] == "many":
        asyncio.run(many(int(sys.argv[2])))
    else:
        asyncio.run(main(sys.argv[1]))
