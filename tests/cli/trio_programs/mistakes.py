# Tutorial: what one gets for calling the async function oneself, and for a function that isn't async.
import trio


async def child():
    pass


def not_async():
    pass


async def main():
    for wrong in (child(), not_async):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wrong)
        except* TypeError as group:
            print(len(group.exceptions), type(group.exceptions[0]).__name__)


trio.run(main)
for wrong in (main(), not_async):
    try:
        trio.run(wrong)
    except TypeError as exc:
        print(type(exc).__name__)

# prints:
#     1 TypeError
#     1 TypeError
#     TypeError
#     TypeError
