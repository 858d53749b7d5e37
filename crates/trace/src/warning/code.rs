//! Every kind of warning: its number in recordings, its name, and what to write instead.
//!
//! `docs/howto/warnings.md` explains each; a test compares the two.

/// What is wrong. The numbers are in files: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Code {
    LoopBlocked = 1,
    BlockedByNativeCode = 2,
    BlockingCall = 3,
    NeverYields = 4,
    NeverAwaited = 5,
    NeverRetrieved = 6,
    TaskDestroyed = 7,
    TaskCutOff = 8,
    WaitsForever = 9,
    Deadlock = 10,
    NeverReleased = 11,
    Spins = 12,
    LostWake = 13,
    WrongThread = 14,
    LockHeldLong = 15,
    QueueGrows = 16,
    QueueNotDrained = 17,
    TasksPileUp = 18,
    CancellationSwallowed = 19,
    GeneratorNotClosed = 20,
    ExceptionLost = 21,
    ExceptionsIgnored = 22,
    OutlivesOwner = 23,
    ExecutorStarved = 24,
}

/// What the recorder tells beside warnings, in the same kind of event: no warnings by themselves.
pub mod fact {
    /// Tasks are started at this place, and nobody keeps them.
    pub const DROPPED_SITE: u32 = 200;
    /// Tasks are started at this place by themselves: in no group, and not for a gather or the like.
    pub const BARE_SITE: u32 = 204;
    /// Of the cancellation that follows: the bits below, in the event's nanoseconds.
    pub const CANCEL: u32 = 201;
    /// The place where a callback's code begins; the text of its name is in the event's nanoseconds.
    pub const CALLBACK: u32 = 202;
    /// The task lets others run again and again, at this place; none if it does so between the items of a `for`.
    pub const YIELDS: u32 = 203;
    /// A timeout asks for it.
    pub const TIMED_OUT: u64 = 1;
    /// The task waits for a bare future, in the program's own code.
    pub const BARE_FUTURE: u64 = 2;
    /// Somebody wants to know when the task ends.
    pub const IS_AWAITED: u64 = 4;
    /// The program ends.
    pub const AT_THE_END: u64 = 8;
    /// Somebody has pressed Ctrl-C.
    pub const INTERRUPTED: u64 = 16;
}

struct Row(Code, &'static str, &'static str, &'static str);

const ROWS: [Row; 24] = [
    Row(
        Code::LoopBlocked,
        "loop-blocked",
        "The event loop was blocked",
        "Call it in a thread: `await asyncio.to_thread(function, ...)`, or do it in pieces with `await asyncio.sleep(0)` between \
         them.",
    ),
    Row(
        Code::BlockedByNativeCode,
        "blocked-by-native-code",
        "Native code blocked the event loop and held the GIL",
        "Give the work to another process: `await loop.run_in_executor(ProcessPoolExecutor(), function, ...)`. A thread \
         doesn't help while the code keeps the GIL.",
    ),
    Row(
        Code::BlockingCall,
        "blocking-call",
        "A blocking call on the event loop",
        "Use what waits without blocking, or call it in a thread: `await asyncio.to_thread(function, ...)`.",
    ),
    Row(
        Code::NeverYields,
        "never-yields",
        "A task doesn't let others run",
        "Give the computation to a thread or process (`await asyncio.to_thread(...)`), or write \
         `await asyncio.sleep(0)` between its pieces: an `await` of what is ready already doesn't let others run.",
    ),
    Row(
        Code::NeverAwaited,
        "never-awaited",
        "A coroutine was never awaited",
        "Write `await` before the call, or `asyncio.create_task(...)` if it should run beside this code.",
    ),
    Row(
        Code::NeverRetrieved,
        "never-retrieved",
        "An exception was never retrieved",
        "Await the task (or start it in an `asyncio.TaskGroup`), so that its exception reaches somebody.",
    ),
    Row(
        Code::TaskDestroyed,
        "task-destroyed",
        "A task was destroyed before it was done",
        "Keep a reference to the task until it is done: in a TaskGroup, or in a set with \
         `task.add_done_callback(tasks.discard)`.",
    ),
    Row(
        Code::TaskCutOff,
        "task-cut-off",
        "A task was never awaited and cut off when the program ended",
        "Await it before the program ends, start it in an `asyncio.TaskGroup`, or cancel it yourself and await it.",
    ),
    Row(
        Code::WaitsForever,
        "waits-forever",
        "A task waited for what never came",
        "Make sure that whoever should wake it does so on every path (`finally:`), and before it ends.",
    ),
    Row(
        Code::Deadlock,
        "deadlock",
        "Tasks wait for each other",
        "Take the locks in the same order everywhere, or hold only one at a time; asyncio's locks can't be taken twice by \
         the same task.",
    ),
    Row(
        Code::NeverReleased,
        "never-released",
        "A lock or semaphore was never released",
        "Use `async with`, or release in a `finally:`, so that it is released on every path.",
    ),
    Row(
        Code::Spins,
        "spins",
        "It wakes itself all the time",
        "Wait for what should happen (an `asyncio.Event`, a queue, a future) instead of looking again and again.",
    ),
    Row(
        Code::LostWake,
        "lost-wake",
        "A wake-up was lost",
        "Wait in a loop for a state that stays: `await condition.wait_for(predicate)`, or an Event that isn't cleared \
         before its waiters have run.",
    ),
    Row(
        Code::WrongThread,
        "wrong-thread",
        "Another thread touched the event loop",
        "From other threads use `loop.call_soon_threadsafe(...)` or `asyncio.run_coroutine_threadsafe(...)`; nothing else \
         wakes the loop.",
    ),
    Row(
        Code::LockHeldLong,
        "lock-held-long",
        "A lock was held across a slow await",
        "Do the slow part before taking the lock or after releasing it; hold the lock only while the shared state changes.",
    ),
    Row(
        Code::QueueGrows,
        "queue-grows",
        "A queue grows without bound",
        "Give it a bound (`asyncio.Queue(maxsize=...)`, `open_memory_channel(...)`), so that who puts waits for who takes.",
    ),
    Row(
        Code::QueueNotDrained,
        "queue-not-drained",
        "A queue was never emptied",
        "Make sure that a consumer runs as long as the producer does, calls `task_done()` for every item, and that its \
         failure ends the producer too (an `asyncio.TaskGroup`).",
    ),
    Row(
        Code::TasksPileUp,
        "tasks-pile-up",
        "Tasks that nobody waits for piled up",
        "Start them in an `asyncio.TaskGroup` and limit how many run at once: a Semaphore, or a few workers and a queue.",
    ),
    Row(
        Code::CancellationSwallowed,
        "cancellation-swallowed",
        "A cancellation was swallowed",
        "Raise it again: write `raise` at the end of `except asyncio.CancelledError`, and catch `Exception` instead of \
         `BaseException`.",
    ),
    Row(
        Code::GeneratorNotClosed,
        "generator-not-closed",
        "An asynchronous generator was not closed",
        "Use it in `async with contextlib.aclosing(generator) as items:`, so that its clean-up runs where you leave it.",
    ),
    Row(
        Code::ExceptionLost,
        "exception-lost",
        "An exception was lost in a gather",
        "Use an `asyncio.TaskGroup`, which waits for all tasks and raises all their exceptions, or \
         `gather(..., return_exceptions=True)` and look at every result.",
    ),
    Row(
        Code::ExceptionsIgnored,
        "exceptions-ignored",
        "Exceptions that were returned as results were ignored",
        "Look at the results of `gather(..., return_exceptions=True)`: each may be an exception. Or leave it out, or use an \
         `asyncio.TaskGroup`.",
    ),
    Row(
        Code::OutlivesOwner,
        "outlives-owner",
        "A shielded task outlived whoever waited for it",
        "Keep the task and await it when the shield is cancelled: `except CancelledError: await task; raise`.",
    ),
    Row(
        Code::ExecutorStarved,
        "executor-starved",
        "Calls wait for a free thread",
        "Give long calls an executor of their own (`ThreadPoolExecutor(max_workers=...)`), or limit how many are started.",
    ),
];

impl Code {
    pub fn all() -> impl Iterator<Item = Code> {
        ROWS.iter().map(|row| row.0)
    }

    pub fn from_number(number: u32) -> Option<Code> {
        ROWS.get((number as usize).wrapping_sub(1)).map(|row| row.0)
    }

    pub fn number(self) -> u32 {
        self as u32
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize - 1]
    }

    /// As programs and documents call it: "loop-blocked".
    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// What to write instead.
    pub fn cure(self) -> &'static str {
        self.row().3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_numbers() {
        for (at, code) in Code::all().enumerate() {
            assert_eq!(code.number() as usize, at + 1);
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!((Code::from_number(0), Code::from_number(25)), (None, None));
    }
}
