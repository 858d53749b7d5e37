# Tutorial: what the scheduler does, told by an instrument.
import trio


async def child():
    await trio.sleep(0.2)


async def parent():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)


class Tracer(trio.abc.Instrument):
    waits = 0

    def before_run(self):
        print("!!! run started")

    def tell(self, what, task):
        if task.name.startswith("__main__."):
            print(f"{what}: {task.name}")

    def task_spawned(self, task):
        self.tell("### new task spawned", task)

    def task_scheduled(self, task):
        self.tell("### task scheduled", task)

    def before_task_step(self, task):
        self.tell(">>> about to run one step of task", task)

    def after_task_step(self, task):
        self.tell("<<< task step finished", task)

    def task_exited(self, task):
        self.tell("### task exited", task)

    def before_io_wait(self, timeout):
        self.since = trio.current_time()
        self.waits += 0 < timeout < 60
        if self.waits == 1:
            print("### waiting for I/O")

    def after_io_wait(self, timeout):
        assert trio.current_time() >= self.since
        if self.waits == 1:
            print("### finished I/O check")
            self.waits = 2

    def after_run(self):
        print("!!! run finished")


trio.run(parent, instruments=[Tracer()])

# prints:
#     !!! run started
#     ### new task spawned: __main__.parent
#     ### task scheduled: __main__.parent
#     >>> about to run one step of task: __main__.parent
#     ### new task spawned: __main__.child
#     ### task scheduled: __main__.child
#     <<< task step finished: __main__.parent
#     >>> about to run one step of task: __main__.child
#     <<< task step finished: __main__.child
#     ### waiting for I/O
#     ### finished I/O check
#     ### task scheduled: __main__.child
#     >>> about to run one step of task: __main__.child
#     ### task scheduled: __main__.parent
#     ### task exited: __main__.child
#     <<< task step finished: __main__.child
#     >>> about to run one step of task: __main__.parent
#     ### task exited: __main__.parent
#     <<< task step finished: __main__.parent
#     !!! run finished
