"""A worker that stops when it is cancelled: returns from its handler after cleaning up, and raises."""
import asyncio
import logging


async def handle(number: int) -> None:
    await asyncio.sleep(0.02)


async def serve() -> None:
    number = 0
    try:
        while number < 5:
            number += 1
            try:
                await handle(number)
            except Exception as e:
                logging.getLogger("x").debug("failed %r", e)
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
        raise


async def main() -> None:
    server = asyncio.create_task(serve(), name="server")
    await asyncio.sleep(0.03)
    server.cancel()
    try:
        await server
    except asyncio.CancelledError:
        print("stopped")


asyncio.run(main())
