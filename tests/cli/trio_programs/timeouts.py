# Reference: timeouts inside each other, shields, and what a scope says of itself.
import trio


async def shielded_goodbye():
    with trio.move_on_after(1, shield=True) as cleanup:
        await trio.sleep(0.01)
        print("said goodbye")
    print("cleanup cancelled:", cleanup.cancelled_caught)


async def main():
    with trio.move_on_after(0.01) as outer:
        with trio.move_on_after(60) as inner:
            try:
                await trio.sleep_forever()
            finally:
                await shielded_goodbye()
        print("never printed")
    print("outer", outer.cancelled_caught, "inner", inner.cancelled_caught)

    try:
        with trio.fail_after(0.01):
            await trio.sleep(60)
    except trio.TooSlowError:
        print("too slow")

    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(0)
        except trio.Cancelled:
            print("cancelled once")
        try:
            await trio.sleep(0)
        except trio.Cancelled:
            print("and again")
            raise
    print(scope.cancel_called, scope.cancelled_caught)

    with trio.move_on_at(trio.current_time() + 60) as scope:
        print(scope.deadline == trio.current_effective_deadline())
        scope.deadline = trio.current_time()
        await trio.lowlevel.checkpoint()
        print("never printed")


trio.run(main)

# prints:
#     said goodbye
#     cleanup cancelled: False
#     outer True inner False
#     too slow
#     cancelled once
#     and again
#     True True
#     True
