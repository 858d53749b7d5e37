"""It cleans up and lets the cancellation pass."""
import segue


async def stubborn() -> None:
    try:
        await segue.sleep(1)
    except BaseException:
        print("cleaning up")
        raise


async def main() -> None:
    with segue.move_on_after(0.05):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(stubborn, name="stubborn")


segue.run(main())
