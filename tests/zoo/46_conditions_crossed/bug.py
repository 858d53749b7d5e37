# code: deadlock
# tasks: debit, credit
# cure: same order
"""Two conditions are entered in opposite orders."""
import asyncio


class Account:
    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.money = 100


async def move(giver: Account, taker: Account, amount: int) -> None:
    async with giver.changed:
        giver.money -= amount
        await asyncio.sleep(0)
        async with taker.changed:  # BUG
            taker.money += amount
            taker.changed.notify_all()


async def main() -> None:
    a, b = Account(), Account()
    try:
        async with asyncio.timeout(0.3), asyncio.TaskGroup() as group:
            group.create_task(move(a, b, 10), name="debit")
            group.create_task(move(b, a, 20), name="credit")
    except TimeoutError:
        print("stuck")


asyncio.run(main())
