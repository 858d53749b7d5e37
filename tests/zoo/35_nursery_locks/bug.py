# code: deadlock
# text: left
# cure: same order
"""The same two locks in two orders, with Segue's own locks in a nursery."""
import segue


async def left(a: segue.Lock, b: segue.Lock) -> None:
    async with a:
        await segue.sleep(0.01)
        async with b:
            pass


async def right(a: segue.Lock, b: segue.Lock) -> None:
    async with b:
        await segue.sleep(0.02)
        async with a:  # BUG
            pass


async def main() -> None:
    a, b = segue.Lock(), segue.Lock()
    with segue.move_on_after(0.3):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(left, a, b)
            nursery.start_soon(right, a, b)


segue.run(main())
