"""Runs a test's coroutine on asyncio's loop or on Segue's; what the `run` fixture gives to every test here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import segue

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "segue": segue.EventLoop,
}


class Run:
    """`run(coroutine)`; `reports` are the contexts that reached the loop's exception handler."""

    def __init__(self, loop_name: str) -> None:
        self.loop_name = loop_name
        self.reports: list[dict[str, Any]] = []
        self.debug = False

    def __call__(self, main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[self.loop_name], debug=self.debug) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: self.reports.append(context))
            return runner.run(main)
