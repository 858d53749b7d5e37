# Reference: context variables are a task's own and are handed down.
import contextvars

import trio

request_info = contextvars.ContextVar("request_info")


def log(message):
    print(f"request {request_info.get()}: {message}")


async def helper(job):
    log(f"helper {job} started")
    await trio.sleep(0)
    log(f"helper {job} finished")


async def handle(tag):
    request_info.set(tag)
    log("started")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(helper, "a")
        nursery.start_soon(helper, "b")
    log("finished")


async def main():
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(handle, number)


trio.run(main)

# prints, in any order:
#     request 0: finished
#     request 0: helper a finished
#     request 0: helper a started
#     request 0: helper b finished
#     request 0: helper b started
#     request 0: started
#     request 1: finished
#     request 1: helper a finished
#     request 1: helper a started
#     request 1: helper b finished
#     request 1: helper b started
#     request 1: started
#     request 2: finished
#     request 2: helper a finished
#     request 2: helper a started
#     request 2: helper b finished
#     request 2: helper b started
#     request 2: started
