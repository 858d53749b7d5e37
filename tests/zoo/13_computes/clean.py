import asyncio


def count_primes(first: int, last: int) -> int:
    found = 0
    for number in range(max(2, first), last):
        found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
    return found


async def main() -> None:
    async def primes() -> None:
        for first in range(0, 20_000, 1000):
            count_primes(first, first + 1000)
            await asyncio.sleep(0)

    await asyncio.create_task(primes(), name="primes")


asyncio.run(main())
