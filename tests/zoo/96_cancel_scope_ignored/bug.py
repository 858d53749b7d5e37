# code: cancellation-swallowed
# tasks: worker
# cure: raise
"""A nursery's task answers its cancellation with a result."""
from segue import trio


async def work() -> None:
    try:
        await trio.sleep(10)
    except trio.Cancelled:  # BUG
        print("stopped")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, name="worker")
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


trio.run(main)
