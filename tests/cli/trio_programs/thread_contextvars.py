# Reference: a thread sees the context of who started it.
import contextvars

import trio

lines = []
request_state = contextvars.ContextVar("request_state")


def work_in_thread(message):
    state = request_state.get()
    lines.append(f"user {state['user']}: {message}")
    state["message"] = message


async def handle(user):
    state = {"user": user}
    request_state.set(state)
    await trio.to_thread.run_sync(work_in_thread, f"hello {user}")
    lines.append(f"from the thread: {state['message']}")


async def main():
    async with trio.open_nursery() as nursery:
        for user in range(3):
            nursery.start_soon(handle, user)


trio.run(main)
print(*lines, sep="\n")

# prints, in any order:
#     from the thread: hello 0
#     from the thread: hello 1
#     from the thread: hello 2
#     user 0: hello 0
#     user 1: hello 1
#     user 2: hello 2
