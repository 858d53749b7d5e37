# code: cancellation-swallowed
# tasks: stubborn
# cure: raise
"""`except BaseException` in a nursery's task: it goes on in a cancelled scope."""
import segue


async def stubborn() -> None:
    try:
        await segue.sleep(1)
    except BaseException:  # BUG
        print("no")
    for _ in range(3):
        try:
            await segue.sleep(0.01)
        except BaseException:
            print("no")


async def main() -> None:
    with segue.move_on_after(0.05):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(stubborn, name="stubborn")


segue.run(main())
