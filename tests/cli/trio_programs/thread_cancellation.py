# Reference: a blocking call can be abandoned, or ask whether it is cancelled, or holds up its scope.
import threading
import time

import trio

release = threading.Event()


def asks():
    while True:
        trio.from_thread.check_cancelled()
        time.sleep(0.001)


async def main():
    with trio.move_on_after(0.01) as scope:
        await trio.to_thread.run_sync(release.wait, abandon_on_cancel=True)
    print("abandoned:", scope.cancelled_caught)
    release.set()

    with trio.move_on_after(0.01) as scope:
        await trio.to_thread.run_sync(asks)
    print("asked:", scope.cancelled_caught)

    with trio.move_on_after(0.01) as scope:
        print("result:", await trio.to_thread.run_sync(lambda: time.sleep(0.05) or "done"))
    print("held up:", not scope.cancelled_caught)

    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: trio.to_thread.run_sync(time.sleep, 0, limiter=limiter))
    print("threads in use:", limiter.borrowed_tokens, "of", limiter.total_tokens)


trio.run(main)

# prints:
#     abandoned: True
#     asked: True
#     result: done
#     held up: True
#     threads in use: 0 of 1
