# code: never-released
# text: job
# cure: async with
"""A job of Segue's limiter ends without giving its token back."""
import segue


async def job(limiter: segue.CapacityLimiter, number: int) -> None:
    await limiter.acquire()  # BUG
    await segue.sleep(0.01)
    if number == 0:
        return
    limiter.release()


async def main() -> None:
    limiter = segue.CapacityLimiter(1)
    with segue.move_on_after(0.3):
        async with segue.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(job, limiter, number)


segue.run(main())
