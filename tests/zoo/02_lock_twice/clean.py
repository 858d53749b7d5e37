import asyncio


class Account:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.balance = 0

    def _add(self, amount: int) -> None:
        self.balance += amount

    async def add(self, amount: int) -> None:
        async with self.lock:
            self._add(amount)

    async def add_twice(self, amount: int) -> None:
        async with self.lock:
            self._add(amount)
            self._add(amount)


async def main() -> None:
    account = Account()
    await asyncio.wait_for(account.add_twice(5), 0.2)
    await account.add(1)
    print(account.balance)


asyncio.run(main())
