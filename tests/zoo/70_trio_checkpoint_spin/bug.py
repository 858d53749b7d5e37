# code: spins
# tasks: poller
# cure: Event
"""A task in a nursery asks again and again, with a checkpoint between."""
import segue


class State:
    done = False


async def poll(state: State) -> None:
    while not state.done:
        await segue.lowlevel.checkpoint()  # BUG


async def finish(state: State) -> None:
    await segue.sleep(0.4)
    state.done = True


async def main() -> None:
    state = State()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(poll, state, name="poller")
        nursery.start_soon(finish, state, name="finisher")


segue.run(main())
