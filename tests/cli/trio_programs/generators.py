# Reference: a generator that is used by one task and runs in another, and one that is closed in time.
from contextlib import aclosing

import trio


@trio.as_safe_channel
async def ticks(count):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        for number in range(count):
            await trio.sleep(0.001)
            yield number
        nursery.cancel_scope.cancel()


async def letters():
    try:
        for letter in "abc":
            yield letter
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()
        print("closed")


async def main():
    async with ticks(3) as numbers:
        async for number in numbers:
            print(number)
    async with aclosing(letters()) as generator:
        async for letter in generator:
            print(letter)
            break


trio.run(main)

# prints:
#     0
#     1
#     2
#     a
#     closed
