# code: cancellation-swallowed
# tasks: server
# cure: raise
"""A server loop logs BaseException and goes on; it can't be stopped."""
import asyncio
import logging


async def handle(number: int) -> None:
    await asyncio.sleep(0.02)


async def serve() -> None:
    number = 0
    while number < 5:
        number += 1
        try:
            await handle(number)
        except BaseException as e:  # BUG
            logging.getLogger("x").debug("failed %r", e)


async def main() -> None:
    server = asyncio.create_task(serve(), name="server")
    await asyncio.sleep(0.03)
    server.cancel()
    try:
        await server
    except asyncio.CancelledError:
        print("stopped")


asyncio.run(main())
