"""Only threads take it."""
import asyncio
import threading
import time

lock = threading.Lock()


def flush() -> None:
    with lock:
        time.sleep(0.3)


def save() -> None:
    with lock:
        print("saved")


async def main() -> None:
    flushing = asyncio.get_running_loop().run_in_executor(None, flush)
    await asyncio.sleep(0.05)
    await asyncio.create_task(asyncio.to_thread(save), name="saver")
    await flushing


asyncio.run(main())
