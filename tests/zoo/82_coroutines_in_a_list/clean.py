"""Gathered."""
import asyncio


async def notify(user: str) -> None:
    print("notified", user)


async def main() -> None:
    calls = [notify(user) for user in ["ada", "grace"]]
    await asyncio.gather(*calls)
    print(len(calls), "users")


asyncio.run(main())
