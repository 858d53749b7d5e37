import asyncio

waiting: dict[int, asyncio.Future] = {}


async def call(number: int) -> str:
    reply = waiting[number] = asyncio.get_running_loop().create_future()
    return await reply


def received(number: int, text: str) -> None:
    waiting.pop(number).set_result(text or "nothing")


async def main() -> None:
    asyncio.get_running_loop().call_later(0.01, received, 1, "")
    caller = asyncio.create_task(call(1), name="caller")
    try:
        print(await asyncio.wait_for(caller, 0.3))
    except TimeoutError:
        print("no reply")


asyncio.run(main())
