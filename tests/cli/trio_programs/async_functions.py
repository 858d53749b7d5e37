# Tutorial: async functions, and the await that was forgotten.
import time

import trio


async def double_sleep(x):
    await trio.sleep(2 * x)
    return "slept"


async def broken_double_sleep(x):
    start = time.perf_counter()
    trio.sleep(2 * x)
    print("at once" if time.perf_counter() - start < x else "late")


print(trio.run(double_sleep, 0.01))
trio.run(broken_double_sleep, 60)

# prints:
#     slept
#     at once
# warns:
#     coroutine 'sleep' was never awaited
