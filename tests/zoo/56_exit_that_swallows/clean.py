"""It swallows the errors that it is for."""
import asyncio


class Quiet:
    async def __aenter__(self) -> "Quiet":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failed: object) -> bool:
        return kind is not None and issubclass(kind, ValueError)


async def session() -> None:
    for _ in range(3):
        async with Quiet():
            await asyncio.sleep(0.05)
        print("next")


async def main() -> None:
    task = asyncio.create_task(session(), name="session")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
