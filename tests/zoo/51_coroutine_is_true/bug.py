# code: never-awaited
# text: is_allowed
# cure: await
"""A check that is never awaited is always true."""
import asyncio


class Gate:
    async def is_allowed(self, user: str) -> bool:
        await asyncio.sleep(0)
        return user == "ada"


async def handle(gate: Gate, user: str) -> str:
    if gate.is_allowed(user):  # BUG
        return f"hello {user}"
    return "go away"


async def main() -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(handle(gate, user), name=user) for user in ("ada", "mallory")]
    print([task.result() for task in tasks])


asyncio.run(main())
