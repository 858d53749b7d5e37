"""Both take them in the same order."""
from segue import trio


async def work(one: trio.Lock, other: trio.Lock) -> None:
    async with one:
        await trio.sleep(0.01)
        async with other:
            print("worked")


async def main() -> None:
    a, b = trio.Lock(), trio.Lock()
    with trio.move_on_after(0.3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, a, b, name="first")
            nursery.start_soon(work, a, b, name="second")


trio.run(main)
