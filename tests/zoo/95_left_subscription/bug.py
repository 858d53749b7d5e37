# code: generator-not-closed
# text: messages
# cure: aclosing
"""A generator with an `async with` inside is left at a timeout."""
import asyncio
from collections.abc import AsyncIterator


class Subscription:
    async def __aenter__(self) -> "Subscription":
        return self

    async def __aexit__(self, *failed: object) -> None:
        print("unsubscribed")


async def messages() -> AsyncIterator[int]:
    async with Subscription():
        number = 0
        while True:
            await asyncio.sleep(0.01)
            number += 1
            yield number


async def listen() -> None:
    async for message in messages():  # BUG
        print("got", message)
        if message == 2:
            break


async def main() -> None:
    await listen()
    await asyncio.sleep(0.01)


asyncio.run(main())
