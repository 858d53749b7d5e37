# code: deadlock
# tasks: first, second
# cure: same order
"""A program in Trio's style takes two locks in opposite orders."""
from segue import trio


async def work(one: trio.Lock, other: trio.Lock) -> None:
    async with one:
        await trio.sleep(0.01)
        async with other:  # BUG
            print("worked")


async def main() -> None:
    a, b = trio.Lock(), trio.Lock()
    with trio.move_on_after(0.3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, a, b, name="first")
            nursery.start_soon(work, b, a, name="second")


trio.run(main)
