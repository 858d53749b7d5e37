"""Mistakes that a type checker must find in a program that uses Segue.

Each line with a mistake ends in the code of the error that mypy must report there, and mypy must report no other.
"""

import asyncio

import segue


async def double(number: int) -> int:
    return number * 2


async def main() -> None:
    loop = segue.new_event_loop()
    loop.call_soon(double_sync, "five")  # error: arg-type
    loop.call_later("soon", print)  # error: arg-type
    loop.create_task(double)  # error: arg-type
    text: str = await loop.create_task(double(1))  # error: arg-type
    loop.no_such_method()  # error: attr-defined
    with segue.move_on_after("1 s"):  # error: arg-type
        pass
    with segue.CancelScope(1.0):  # error: call-arg
        pass
    scope = segue.CancelScope()
    scope.cancelled_caught = True  # error: misc
    scope.deadline = "tomorrow"  # error: assignment
    print(text)
    send, receive = segue.open_memory_channel[int](0)
    await send.send("five")  # error: arg-type
    send.send(5)  # error: unused-coroutine
    word: str = await receive.receive()  # error: assignment
    segue.Event().wait()  # error: unused-coroutine
    async with segue.open_nursery() as nursery:
        nursery.start_soon(double, "five")  # error: arg-type
        nursery.start_soon(double(5))  # error: arg-type
        nursery.start_soon(double_sync, 5)  # error: arg-type
    several: list[str] = await segue.gather(double(1), limit=1)  # error: arg-type
    await segue.to_thread.run_sync(double_sync, "five")  # error: arg-type
    print(word, several)


def double_sync(number: int) -> int:
    return number * 2


segue.run(main)  # error: arg-type
segue.run(main(), loop_factory=int)  # error: arg-type
number: str = segue.run(double(1))  # error: assignment
print(segue.no_such_name)  # error: attr-defined
asyncio.run(main(), loop_factory=segue.EventLoop.time)  # error: arg-type
