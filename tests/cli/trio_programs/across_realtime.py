# Reference: clocks of the tests. 600 years pass on one that skips what is boring.
import time

import trio
import trio.testing

YEAR = 365 * 24 * 60 * 60


async def sleeper(name, *naps):
    start = trio.current_time()
    for years, times in naps:
        for _ in range(times):
            await trio.sleep(years * YEAR)
        print(f"{name}: slept {(trio.current_time() - start) / YEAR} years")


async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper, "task1", (1, 1), (1, 100))
        nursery.start_soon(sleeper, "task2", (5, 1), (500, 1))


async def while_it_runs():
    start, started = trio.current_time(), time.perf_counter()
    await trio.sleep(500 * YEAR)
    print("the clock runs:", trio.current_time() - start >= 500 * YEAR, time.perf_counter() - started >= 0.01)


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
trio.run(while_it_runs, clock=trio.testing.MockClock(rate=50_000 * YEAR))

# prints, in any order:
#     task1: slept 1.0 years
#     task1: slept 101.0 years
#     task2: slept 5.0 years
#     task2: slept 505.0 years
#     the clock runs: True True
