# Reference: several tasks fail at once; groups and what is left of them.
import trio


async def broken1():
    raise KeyError("one")


async def broken2():
    raise IndexError("two")


async def main():
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broken1)
            nursery.start_soon(broken2)
            nursery.start_soon(trio.sleep_forever)
    except* KeyError as group:
        print("except*", [repr(exc) for exc in group.exceptions])
    except* IndexError as group:
        print("except*", [repr(exc) for exc in group.exceptions])

    async with trio.open_nursery() as outer:
        try:
            async with trio.open_nursery() as inner:
                inner.start_soon(broken1)
                await trio.sleep_forever()
        except ExceptionGroup as group:
            print("inner", group.exceptions)
        outer.start_soon(trio.sleep, 0)
    print("outer goes on")


async def loose():
    async with trio.open_nursery(strict_exception_groups=False) as nursery:
        nursery.start_soon(broken1)
        nursery.start_soon(trio.sleep_forever)


trio.run(main)
try:
    trio.run(loose)
except KeyError as exc:
    print("alone", exc)

# prints:
#     except* ["KeyError('one')"]
#     except* ["IndexError('two')"]
#     inner (KeyError('one'),)
#     outer goes on
#     alone 'one'
# warns:
#     TrioDeprecationWarning
