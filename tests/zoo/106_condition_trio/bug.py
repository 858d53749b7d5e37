# code: waits-forever, lost-wake
# tasks: waiter
# cure: notify
"""Trio's condition: nobody notifies."""
import segue


async def wait(condition: segue.Condition) -> None:
    async with condition:
        await condition.wait()  # BUG


async def main() -> None:
    condition = segue.Condition()
    with segue.move_on_after(0.2):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(wait, condition, name="waiter")


segue.run(main())
