# Reference, low level: a queue on `wait_task_rescheduled`, parked tasks, variables of a run, callbacks from threads.
import collections
import threading

import trio
import trio.testing


class Queue:
    def __init__(self):
        self.items = collections.deque()
        self.waiting = collections.deque()

    def put(self, item):
        if self.waiting:
            trio.lowlevel.reschedule(self.waiting.popleft())
        self.items.append(item)

    async def get(self):
        if not self.items:
            task = trio.lowlevel.current_task()
            self.waiting.append(task)

            def abort(_):
                self.waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        return self.items.popleft()


number = trio.lowlevel.RunVar("number", default=1)


async def main():
    queue = Queue()
    with trio.move_on_after(0.01):
        await queue.get()
    print("left:", len(queue.waiting))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: trio.sleep(0.01))
        token = trio.lowlevel.current_trio_token()
        threading.Thread(target=token.run_sync_soon, args=(queue.put, "from a thread")).start()
        print(await queue.get())
    lot = trio.lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lot.park)
        await trio.testing.wait_all_tasks_blocked()
        print("unparked:", len(lot.unpark(count=2)), "left:", len(lot))
        lot.unpark_all()
    before = number.set(2)
    print(number.get())
    number.reset(before)
    print(number.get(), trio.lowlevel.in_trio_run(), trio.lowlevel.in_trio_task())
    task = trio.lowlevel.current_task()
    print(task.name, task.parent_nursery is not None, [f.f_code.co_name for f, _ in task.iter_await_frames()][:1])


trio.run(main)
print(trio.lowlevel.in_trio_run())

# prints:
#     left: 0
#     from a thread
#     unparked: 2 left: 1
#     2
#     1 True True
#     __main__.main True ['main']
#     False
