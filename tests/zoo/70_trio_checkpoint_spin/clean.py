"""An event."""
import segue


async def poll(done: segue.Event) -> None:
    await done.wait()


async def finish(done: segue.Event) -> None:
    await segue.sleep(0.4)
    done.set()


async def main() -> None:
    done = segue.Event()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(poll, done, name="poller")
        nursery.start_soon(finish, done, name="finisher")


segue.run(main())
