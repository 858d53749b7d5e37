"""It has a scope of its own for what may take too long, and cleans up shielded."""
from segue import trio


async def work() -> None:
    with trio.move_on_after(0.01):
        await trio.sleep(10)
    try:
        await trio.sleep(10)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        print("stopped")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, name="worker")
        await trio.sleep(0.04)
        nursery.cancel_scope.cancel()


trio.run(main)
