# code: loop-blocked, blocking-call
# tasks: reader
# cure: thread
"""A blocking read of a pipe."""
import asyncio
import os
import threading
import time


def write(fd: int) -> None:
    time.sleep(0.3)
    os.write(fd, b"line\n")


async def read(fd: int) -> None:
    print(os.read(fd, 100))  # BUG


async def main() -> None:
    reading, writing = os.pipe()
    threading.Thread(target=write, args=(writing,)).start()
    await asyncio.create_task(read(reading), name="reader")


asyncio.run(main())
