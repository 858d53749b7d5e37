import asyncio
import threading
import time


async def main() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def work() -> None:
        time.sleep(0.05)
        loop.call_soon_threadsafe(done.set_result, 1)

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.wait([done], timeout=0.5)
    await asyncio.to_thread(thread.join)
    print(done.done())


asyncio.run(main())
