# Reference: a task that says when it is ready, and one that fails before it is.
import trio


async def server(task_status=trio.TASK_STATUS_IGNORED):
    await trio.sleep(0.01)
    task_status.started("port 80")
    await trio.sleep_forever()


async def broken(*, task_status):
    raise OSError("no port is free")


async def main():
    async with trio.open_nursery() as nursery:
        print(await nursery.start(server), len(nursery.child_tasks))
        nursery.cancel_scope.cancel()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(broken)
    except* OSError as group:
        print(group.exceptions)


trio.run(main)

# prints:
#     port 80 1
#     (OSError('no port is free'),)
