"""Timers by the million: cancelled ones don't stay in memory until their time, the others come in order."""

import asyncio
import random


def test_cancelled_timers_keep_memory_flat(run, scaled, usage):
    """10 million timeouts that never fire, as a server sets one for each request."""
    count = scaled(10_000_000)

    async def main():
        loop = asyncio.get_running_loop()

        async def rounds(number):
            for _ in range(number // 1000):
                for _ in range(1000):
                    loop.call_later(3600, print, "never").cancel()
                await asyncio.sleep(0)

        await rounds(20_000)
        before = usage.now()
        await rounds(count)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    run(main, timeout=1800)


def test_timeouts_around_awaits_keep_memory_flat(run, scaled, usage):
    count = scaled(1_000_000)

    async def main():
        async def rounds(number):
            for _ in range(number):
                async with asyncio.timeout(3600):
                    await asyncio.sleep(0)

        await rounds(5000)
        before = usage.now()
        await rounds(count)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    run(main, timeout=1800)


def test_a_burst_of_timers_is_given_back_once_cancelled(run, usage):
    async def main():
        loop = asyncio.get_running_loop()

        async def burst(number):
            timers = [loop.call_later(1000 + index % 97, print, index) for index in range(number)]
            random.Random(1).shuffle(timers)
            for timer in timers:
                timer.cancel()
            timers.clear()
            loop.call_later(0.001, int)
            await asyncio.sleep(0.01)

        await burst(1000)
        before = usage.now()
        await burst(200_000)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    run(main)


def test_order_survives_cancellation(run):
    """Timers fire in the order of their times, each once, and none that was cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.05
        fired, expected = [], []
        choice = random.Random(7)
        for number in range(5000):
            when = start + choice.randrange(100) / 10_000
            handle = loop.call_at(when, fired.append, (when, number))
            if choice.random() < 0.5:
                handle.cancel()
            else:
                expected.append((when, number))
        while len(fired) < len(expected):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        assert [when for when, _ in fired] == [when for when, _ in sorted(expected)]
        assert sorted(fired) == sorted(expected)

    run(main)
