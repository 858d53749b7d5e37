# code: waits-forever
# tasks: receiver
# cure: set_result
"""The program hangs on a reply that never comes, until somebody presses Ctrl-C."""
import asyncio
import os
import signal
import threading


async def receive() -> bytes:
    return await asyncio.get_running_loop().create_future()  # BUG


async def main() -> None:
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    await asyncio.gather(asyncio.create_task(receive(), name="receiver"), asyncio.sleep(0.1))


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
