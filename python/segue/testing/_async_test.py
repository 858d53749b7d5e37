"""`trio_test`: an async test function as a plain one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from .._clock import Clock
from .._instruments import Instrument

P = ParamSpec("P")
T = TypeVar("T")


def trio_test(fn: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorates an async test so that calling it runs it with `segue.trio.run`.

    An argument (a fixture) that is a Clock or an Instrument is the run's clock or one of its instruments;
    ValueError for two clocks.
    """

    @functools.wraps(fn)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> T:
        from ..trio._run import run

        __tracebackhide__ = True
        clocks = [value for value in kwargs.values() if isinstance(value, Clock)]
        if len(clocks) > 1:
            raise ValueError("too many clocks spoil the broth!")
        return run(
            functools.partial(fn, *args, **kwargs),
            clock=clocks[0] if clocks else None,
            instruments=[value for value in kwargs.values() if isinstance(value, Instrument)],
        )

    return run_test
