"""One lock for both accounts' conditions, and it is taken once."""
import asyncio


class Account:
    def __init__(self, lock: asyncio.Lock) -> None:
        self.changed = asyncio.Condition(lock)
        self.money = 100


async def move(lock: asyncio.Lock, giver: Account, taker: Account, amount: int) -> None:
    async with lock:
        giver.money -= amount
        await asyncio.sleep(0)
        taker.money += amount
        taker.changed.notify_all()


async def main() -> None:
    lock = asyncio.Lock()
    a, b = Account(lock), Account(lock)
    async with asyncio.timeout(0.3), asyncio.TaskGroup() as group:
        group.create_task(move(lock, a, b, 10), name="debit")
        group.create_task(move(lock, b, a, 20), name="credit")
    print(a.money, b.money)


asyncio.run(main())
