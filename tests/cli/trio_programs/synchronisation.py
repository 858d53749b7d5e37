# Reference: what tasks wait for each other with.
import trio
import trio.testing


async def main():
    event = trio.Event()
    lock = trio.Lock()
    condition = trio.Condition(lock)
    semaphore = trio.Semaphore(2)
    limiter = trio.CapacityLimiter(2)
    fair = trio.StrictFIFOLock()
    order = []

    async def waiter(number):
        await event.wait()
        async with lock:
            order.append(("lock", number))
        async with fair:
            order.append(("fair", number))
        async with semaphore:
            await trio.sleep(0)
        async with limiter:
            await trio.sleep(0)
        async with condition:
            await condition.wait()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(waiter, number)
        await trio.testing.wait_all_tasks_blocked()
        print(event.statistics(), event.is_set())
        event.set()
        await trio.testing.wait_all_tasks_blocked()
        print(sorted(order))
        print(condition.statistics().tasks_waiting, semaphore.value, limiter.available_tokens, lock.locked())
        async with condition:
            condition.notify(1)
            condition.notify_all()
    try:
        lock.release()
    except RuntimeError:
        print("not mine")
    try:
        for _ in range(3):
            limiter.acquire_on_behalf_of_nowait(object())
    except trio.WouldBlock:
        print("full")


trio.run(main)

# prints:
#     EventStatistics(tasks_waiting=3) False
#     [('fair', 0), ('fair', 1), ('fair', 2), ('lock', 0), ('lock', 1), ('lock', 2)]
#     3 2 2 False
#     not mine
#     full
