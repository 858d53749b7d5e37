# code: never-awaited
# text: notify
# cure: await
"""A list of coroutines is made, and the gather forgotten."""
import asyncio


async def notify(user: str) -> None:
    print("notified", user)


async def main() -> None:
    calls = [notify(user) for user in ["ada", "grace"]]  # BUG
    print(len(calls), "users")


asyncio.run(main())
