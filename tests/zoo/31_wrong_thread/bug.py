# code: wrong-thread
# cure: call_soon_threadsafe
"""A thread completes a future of the loop, which sleeps on."""
import asyncio
import threading
import time


async def main() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def work() -> None:
        time.sleep(0.05)
        loop.call_soon(done.set_result, 1)  # BUG

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.wait([done], timeout=0.5)
    thread.join()
    print(done.done())


asyncio.run(main())
