//! Who is told what happened.
//!
//! Spawn, step, wait, wake, cancel and finish each pass through one function of [`Hooks`]. With nothing attached a hook
//! is one predictable branch; without the `hooks` feature it is nothing at all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers tasks in the order of their creation, from 1; 0 is "no task" (a callback, I/O, a timer).
pub type TaskId = u64;
/// Names a place in the source in the sink's own table; 0 is unknown.
pub type SiteId = u32;

/// Who asked for a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CancelSource {
    TaskCancel = 1,
    ScopeCancel = 2,
    Deadline = 3,
    NurseryFailure = 4,
    Signal = 5,
    LoopShutdown = 6,
}

impl CancelSource {
    /// As it is shown to people.
    pub fn name(self) -> &'static str {
        match self {
            CancelSource::TaskCancel => "Task.cancel",
            CancelSource::ScopeCancel => "scope.cancel",
            CancelSource::Deadline => "deadline",
            CancelSource::NurseryFailure => "nursery failure",
            CancelSource::Signal => "signal",
            CancelSource::LoopShutdown => "loop shutdown",
        }
    }

    /// Whether a cancel scope is behind it, in contrast to a request to the task itself.
    pub fn is_scoped(self) -> bool {
        matches!(self, CancelSource::ScopeCancel | CancelSource::Deadline | CancelSource::NurseryFailure)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `task` was created by `other` at `site`.
    Spawn = 1,
    /// A step of `task` begins.
    Step = 2,
    /// `task` suspended, waiting for the task `other` or, if 0, for something else; `detail` names it (an object's id).
    Wait = 3,
    /// `task` was made ready by `other` (the task that was running, or 0).
    Wake = 4,
    /// `task` was asked to cancel by `other`; `detail` is the [`CancelSource`].
    Cancel = 5,
    /// `task` ended; `detail`: 0 result, 1 exception, 2 cancelled.
    Finish = 6,
    /// The step of `task` is over; `other` runs again (an eager task's creator, or 0); `detail`: 0 it yields, 1 it waits, 2 it ended.
    StepEnd = 7,
    /// The loop has looked what happened outside and begins with jobs. Turns without a look are part of the one before.
    Turn = 8,
    /// ... and has come to the end of them, which were `detail`.
    TurnEnd = 9,
    /// Something that is no task's step begins; `detail` is a [`Doing`].
    Callback = 10,
    /// ... and is over; `extra` names it.
    CallbackEnd = 11,
    /// Between two jobs of a turn, other threads had the interpreter.
    Resume = 12,
}

/// What runs that is no task's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    Nothing = 0,
    Io = 2,
    Timer = 3,
    Callback = 4,
    Deadline = 6,
}

/// One fixed-size entry of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    pub task: TaskId,
    pub other: TaskId,
    pub detail: u64,
    pub site: SiteId,
    /// A word in the sink's own table.
    pub extra: u32,
    pub kind: Kind,
}

impl Event {
    #[inline(always)]
    pub fn new(kind: Kind, task: TaskId, other: TaskId, detail: u64) -> Event {
        Event { task, other, detail, site: 0, extra: 0, kind }
    }
}

/// Receives events, in order, on the loop's thread. Must not call back into the loop.
pub trait Instrument {
    fn record(&self, event: &Event);
}

/// The loop's hooks: instruments are attached and detached at run time.
#[derive(Default)]
pub struct Hooks {
    attached: Cell<bool>,
    sinks: RefCell<Vec<Rc<dyn Instrument>>>,
    /// The one sink, if there is one only. Taken out while it is told something.
    only: Cell<Option<Rc<dyn Instrument>>>,
    last_task: Cell<TaskId>,
    /// Jobs since the last look outside.
    jobs: Cell<u64>,
    /// The task whose step is running; 0 between steps. The waker of whatever wakes meanwhile. Other threads may look.
    current: AtomicU64,
}

impl Hooks {
    pub fn attach(&self, sink: Rc<dyn Instrument>) {
        self.sinks.borrow_mut().push(sink);
        self.count();
    }

    /// The sink hears nothing more. The caller has another reference, so that nothing is dropped here.
    pub fn detach(&self, sink: &Rc<dyn Instrument>) {
        self.sinks.borrow_mut().retain(|attached| !Rc::ptr_eq(attached, sink));
        self.count();
    }

    fn count(&self) {
        let sinks = self.sinks.borrow();
        self.only.set(if let [only] = &sinks[..] { Some(only.clone()) } else { None });
        self.attached.set(cfg!(feature = "hooks") && !sinks.is_empty());
        self.jobs.set(0);
    }

    /// Whether anybody listens; callers use it to avoid the cost of finding out a site.
    #[inline(always)]
    pub fn is_attached(&self) -> bool {
        cfg!(feature = "hooks") && self.attached.get()
    }

    #[inline]
    pub fn next_task_id(&self) -> TaskId {
        let id = self.last_task.get() + 1;
        self.last_task.set(id);
        id
    }

    pub fn current(&self) -> TaskId {
        self.current.load(Relaxed)
    }

    #[inline(always)]
    fn emit(&self, event: Event) {
        if self.is_attached() {
            self.emit_cold(&event);
        }
    }

    #[cold]
    #[inline(never)]
    fn emit_cold(&self, event: &Event) {
        if let Some(only) = self.only.take() {
            only.record(event);
            self.only.set(Some(only));
            return;
        }
        for sink in self.sinks.borrow().iter() {
            sink.record(event);
        }
    }

    #[inline(always)]
    pub fn spawn(&self, task: TaskId, site: SiteId, coroutine: u32) {
        self.emit(Event { site, extra: coroutine, ..Event::new(Kind::Spawn, task, self.current(), 0) });
    }

    /// A step begins. Returns the task that was running before, for [`Hooks::step_end`] (eager tasks nest).
    #[inline(always)]
    pub fn step(&self, task: TaskId) -> TaskId {
        let outer = self.current();
        if cfg!(feature = "hooks") {
            self.current.store(task, Relaxed);
        }
        self.emit(Event::new(Kind::Step, task, outer, 0));
        outer
    }

    /// `how`: see [`Kind::StepEnd`].
    #[inline(always)]
    pub fn step_end(&self, outer: TaskId, how: u64) {
        self.emit(Event::new(Kind::StepEnd, self.current(), outer, how));
        if cfg!(feature = "hooks") {
            self.current.store(outer, Relaxed);
        }
    }

    #[inline(always)]
    pub fn wait(&self, task: TaskId, on_task: TaskId, on_object: u64, site: SiteId, what: u32) {
        self.emit(Event { site, extra: what, ..Event::new(Kind::Wait, task, on_task, on_object) });
    }

    #[inline(always)]
    pub fn wake(&self, task: TaskId) {
        self.emit(Event::new(Kind::Wake, task, self.current(), 0));
    }

    #[inline(always)]
    pub fn cancel(&self, task: TaskId, source: CancelSource, site: SiteId) {
        self.emit(Event { site, ..Event::new(Kind::Cancel, task, self.current(), source as u64) });
    }

    #[inline(always)]
    pub fn finish(&self, task: TaskId, how: u64, site: SiteId) {
        self.emit(Event { site, ..Event::new(Kind::Finish, task, 0, how) });
    }

    /// A turn begins with its jobs, after a look at what happened outside or without one.
    #[inline(always)]
    pub fn turn(&self, jobs: usize, looked: bool) {
        if self.is_attached() {
            self.jobs.set(self.jobs.get() + jobs as u64);
            if looked {
                self.emit_cold(&Event::new(Kind::Turn, 0, 0, 0));
            }
        }
    }

    /// The loop is about to look what happens outside, or ends.
    #[inline(always)]
    pub fn turn_end(&self) {
        if self.is_attached() {
            self.emit_cold(&Event::new(Kind::TurnEnd, 0, 0, self.jobs.replace(0)));
        }
    }

    /// The loop goes on with its turn, after who knows how long.
    pub fn resume(&self) {
        self.emit(Event::new(Kind::Resume, 0, 0, 0));
    }

    #[inline(always)]
    pub fn callback(&self, doing: Doing) {
        self.emit(Event::new(Kind::Callback, 0, 0, doing as u64));
    }

    #[inline(always)]
    pub fn callback_end(&self, what: u32) {
        self.emit(Event { extra: what, ..Event::new(Kind::CallbackEnd, 0, 0, 0) });
    }
}

#[cfg(all(test, feature = "hooks"))]
mod tests {
    use super::*;

    struct Log(RefCell<Vec<Event>>);
    impl Instrument for Log {
        fn record(&self, event: &Event) {
            self.0.borrow_mut().push(*event);
        }
    }

    #[test]
    fn a_wake_names_the_task_that_was_running() {
        let hooks = Hooks::default();
        let log = Rc::new(Log(RefCell::default()));
        hooks.wake(9); // nobody listens yet
        hooks.attach(log.clone());
        let outer = hooks.step(1);
        hooks.wake(2);
        hooks.step_end(outer, 1);
        hooks.wake(3);
        let seen: Vec<_> = log.0.borrow().iter().map(|e| (e.kind, e.task, e.other)).collect();
        assert_eq!(seen, [(Kind::Step, 1, 0), (Kind::Wake, 2, 1), (Kind::StepEnd, 1, 0), (Kind::Wake, 3, 0)]);
        let sink: Rc<dyn Instrument> = log.clone();
        hooks.detach(&sink);
        hooks.wake(4);
        assert_eq!(log.0.borrow().len(), 4);
    }
}
