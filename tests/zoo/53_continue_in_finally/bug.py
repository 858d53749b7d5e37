# code: cancellation-swallowed
# tasks: poller
# cure: finally
"""`break` in a `finally:` ends the loop and the exception with it."""
import asyncio


async def poll() -> str:
    tries = 0
    while True:
        try:
            await asyncio.sleep(1)
        finally:
            tries += 1  # BUG
            break
    await asyncio.sleep(0.02)
    return f"gave up after {tries}"


async def main() -> None:
    task = asyncio.create_task(poll(), name="poller")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    print(task.cancelled())


asyncio.run(main())
