"""Guest mode is not offered: `start_guest_run` says what to do instead."""

from __future__ import annotations

from typing import NoReturn


def start_guest_run(*args: object, **kwargs: object) -> NoReturn:
    """NotImplementedError: Segue doesn't run inside another loop; asyncio code runs inside Segue's."""
    raise NotImplementedError(
        "segue.trio has no guest mode: its loop is an asyncio loop, so asyncio code can be awaited in it directly"
    )
