# code: waits-forever, queue-not-drained
# tasks: sender
# cure: consumer
"""Something is sent into a channel from which nobody receives."""
import segue


async def send(channel: segue.MemorySendChannel[int]) -> None:
    for number in range(3):
        await channel.send(number)  # BUG


async def main() -> None:
    sending, receiving = segue.open_memory_channel(1)
    with segue.move_on_after(0.3):
        async with segue.open_nursery() as nursery:
            nursery.start_soon(send, sending, name="sender")
    receiving.close()


segue.run(main())
