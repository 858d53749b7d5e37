# Reference: a supervisor of one's own. The first of several functions that is done gives the result.
import trio


async def race(*functions):
    if not functions:
        raise ValueError("must pass at least one argument")
    winner = None

    async def runner(function, cancel_scope):
        nonlocal winner
        winner = await function()
        cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(runner, function, nursery.cancel_scope)
    return winner


async def slow():
    try:
        await trio.sleep(60)
    finally:
        print("slow was cancelled")


async def fast():
    await trio.sleep(0.01)
    return "fast"


print(trio.run(race, slow, fast))

# prints:
#     slow was cancelled
#     fast
