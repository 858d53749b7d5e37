# code: deadlock
# tasks: Task-1
# cure: twice
"""A function takes a lock and calls another that takes it too."""
import asyncio


class Account:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.balance = 0

    async def add(self, amount: int) -> None:
        async with self.lock:  # BUG
            self.balance += amount

    async def add_twice(self, amount: int) -> None:
        async with self.lock:
            await self.add(amount)
            await self.add(amount)


async def main() -> None:
    account = Account()
    try:
        async with asyncio.timeout(0.2):
            await account.add_twice(5)
    except TimeoutError:
        print("gave up")


asyncio.run(main())
