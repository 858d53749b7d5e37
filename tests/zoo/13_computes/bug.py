# code: never-yields, loop-blocked
# tasks: primes
# cure: to_thread
"""A long computation without an `await`."""
import asyncio


def count_primes(most: int) -> int:
    found = 0
    for number in range(2, most):
        found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))  # BUG
    return found


async def main() -> None:
    async def primes() -> None:
        count_primes(300_000)

    await asyncio.create_task(primes(), name="primes")


asyncio.run(main())
