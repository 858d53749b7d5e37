"""Somebody does."""
import segue


async def wait(condition: segue.Condition) -> None:
    async with condition:
        await condition.wait()


async def notify(condition: segue.Condition) -> None:
    await segue.sleep(0.02)
    async with condition:
        condition.notify_all()


async def main() -> None:
    condition = segue.Condition()
    with segue.move_on_after(0.2):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(wait, condition, name="waiter")
            nursery.start_soon(notify, condition, name="notifier")


segue.run(main())
