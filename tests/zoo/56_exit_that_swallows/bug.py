# code: cancellation-swallowed
# tasks: session
# cure: __aexit__
"""An `__aexit__` that returns True whatever was raised."""
import asyncio


class Quiet:
    async def __aenter__(self) -> "Quiet":
        return self

    async def __aexit__(self, *failed: object) -> bool:
        return True


async def session() -> None:
    for _ in range(3):
        async with Quiet():  # BUG
            await asyncio.sleep(0.05)
        print("next")


async def main() -> None:
    task = asyncio.create_task(session(), name="session")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
