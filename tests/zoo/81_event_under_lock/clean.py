"""A condition, whose wait releases the lock."""
import asyncio


class State:
    ready = False


async def wait(changed: asyncio.Condition, state: State) -> None:
    async with changed:
        await changed.wait_for(lambda: state.ready)


async def finish(changed: asyncio.Condition, state: State) -> None:
    await asyncio.sleep(0.01)
    async with changed:
        state.ready = True
        changed.notify_all()


async def main() -> None:
    changed, state = asyncio.Condition(), State()
    async with asyncio.timeout(0.3):
        async with asyncio.TaskGroup() as group:
            group.create_task(wait(changed, state), name="waiter")
            group.create_task(finish(changed, state), name="setter")


asyncio.run(main())
