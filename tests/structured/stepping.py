"""What the tests here need to let a loop step, and to count its steps."""

import asyncio

import segue


async def turns(n: int = 3) -> None:
    """Let everything else run for `n` turns of the loop, whatever is cancelled here."""
    with segue.CancelScope(shield=True):
        for _ in range(n):
            await asyncio.sleep(0)


class Work:
    """How many events (steps, waits, wakes, turns, callbacks) the loop records between `start` and `events`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop._start_recording()

    def events(self) -> int:
        total, _ = self._loop._recorded_events()
        return total
