"""The check is awaited."""
import asyncio


class Gate:
    async def is_allowed(self, user: str) -> bool:
        await asyncio.sleep(0)
        return user == "ada"


async def handle(gate: Gate, user: str) -> str:
    if await gate.is_allowed(user):
        return f"hello {user}"
    return "go away"


async def main() -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(handle(gate, user), name=user) for user in ("ada", "mallory")]
    print([task.result() for task in tasks])


asyncio.run(main())
