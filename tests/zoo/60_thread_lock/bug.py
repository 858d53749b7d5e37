# code: loop-blocked, blocking-call
# tasks: saver
# cure: threads on the loop
"""A `threading.Lock` that a thread holds is acquired on the loop."""
import asyncio
import threading
import time

lock = threading.Lock()


def flush() -> None:
    with lock:
        time.sleep(0.3)


async def save() -> None:
    with lock:  # BUG
        print("saved")


async def main() -> None:
    flushing = asyncio.get_running_loop().run_in_executor(None, flush)
    await asyncio.sleep(0.05)
    await asyncio.create_task(save(), name="saver")
    await flushing


asyncio.run(main())
