"""What the tests here need to let a loop step, and to count its steps."""

import asyncio

import segue
from segue._recording import _running


async def turns(n: int = 3) -> None:
    """Let everything else run for `n` turns of the loop, whatever is cancelled here."""
    with segue.CancelScope(shield=True):
        for _ in range(n):
            await asyncio.sleep(0)


class Work:
    """How many events (steps, waits, wakes, turns, callbacks) the loop records between `start` and `events`."""

    def __init__(self) -> None:
        for left_by_a_failed_test in list(_running):
            left_by_a_failed_test.stop()
        self._recording = segue.record(memory="1M")
        self._recording.start()

    def events(self) -> int:
        """Once: it ends the recording."""
        count = self._recording.counts()["written"]
        self._recording.stop()
        return count
