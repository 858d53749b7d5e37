# code: loop-blocked
# tasks: caller
# cure: threads on the loop
"""`run_coroutine_threadsafe(...).result()` on the loop itself: it waits for itself."""
import asyncio


async def answer() -> int:
    return 42


async def call() -> None:
    loop = asyncio.get_running_loop()
    future = asyncio.run_coroutine_threadsafe(answer(), loop)
    try:
        print(future.result(timeout=0.4))  # BUG
    except TimeoutError:
        print("no answer")
        future.cancel()


async def main() -> None:
    await asyncio.create_task(call(), name="caller")
    await asyncio.sleep(0.02)


asyncio.run(main())
