"""`segue.retry`: try again what failed, later and later."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ._scopes import sleep

T = TypeVar("T")


async def retry(
    async_fn: Callable[..., Awaitable[T]],
    /,
    *args: Any,
    attempts: int = 3,
    on: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = Exception,
    delay: float = 0.1,
    factor: float = 2.0,
    max_delay: float = 30.0,
    jitter: bool = True,
) -> T:
    """`await async_fn(*args)`, up to `attempts` times, and return its result.

    Before the n-th new attempt it waits `delay * factor ** (n - 1)` seconds, at most `max_delay`; with `jitter` a
    random time up to that, so that many clients that failed together don't come back together (AWS calls it full
    jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Only exceptions that match
    `on` (classes, or a function that says so) are tried again; others, and the last one, are raised, with a note
    on how often it was tried. A cancellation is never tried again. ValueError for numbers that make no sense.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    for name, number in (("delay", delay), ("factor", factor)):
        if not math.isfinite(number) or number < 0:
            raise ValueError(f"{name} must be a finite number, not negative, got {number}")
    if math.isnan(max_delay) or max_delay < 0:
        raise ValueError(f"max_delay must not be negative or NaN, got {max_delay}")
    wait = delay
    for attempt in range(1, attempts + 1):
        try:
            return await async_fn(*args)
        except Exception as exc:
            again = isinstance(exc, on) if isinstance(on, (type, tuple)) else on(exc)
            if not again or attempt == attempts:
                if attempt > 1:
                    exc.add_note(f"segue.retry: this was attempt {attempt} of {attempts}")
                raise
        limit = min(wait, max_delay)
        await sleep(random.uniform(0, limit) if jitter else limit)
        wait = min(wait * factor, max_delay)
    raise AssertionError("unreachable")
