//! How the loop waits for the outside world: the reactor as the scheduler's driver, and where it lets go of the GIL.
//!
//! Called once a turn, by `event_loop`. What a turn does besides is in `sched::turn`.

use std::time::Duration;

use net::clock::Monotonic;
use pyo3::ffi::{self, PyObject};
use sched::{Clock, Driver, ReadyQueue, Wait};

use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::progress::Doing;
use crate::raw::obj::os_error;
use crate::raw::{registry, Raised, R};
use crate::recording;

/// How many turns may pass without looking for I/O.
const MAX_SKIPPED: u32 = 7;

/// The core and the Python object around it.
pub struct Waiter<'a>(pub &'a LoopCore, pub *mut PyObject);

impl Driver<Job> for Waiter<'_> {
    type Error = Raised;

    fn wait(&self, wait: Wait, ready: &ReadyQueue<Job>) -> R<()> {
        if wait == Wait::Poll && self.0.may_skip_poll() {
            return Ok(());
        }
        self.look(wait, ready)
    }

    fn before_jobs(&self) -> R<()> {
        let looked = self.0.skipped_polls.get() == 0;
        self.0.hooks.turn(self.0.scheduler.ready.len(), looked);
        Ok(())
    }
}

impl Waiter<'_> {
    fn look(&self, wait: Wait, ready: &ReadyQueue<Job>) -> R<()> {
        registry::settle(self.0, self.1);
        self.0.hooks.turn_end();
        // Also after a look that was none of those which may be skipped: the turn that follows begins here.
        self.0.skipped_polls.set(0);
        self.0.wait(wait)?;
        self.0.io.reactor.for_each_event(|e| ready.push(Job::Io { token: e.token, ready: e.ready }));
        Ok(())
    }
}

/// The same for a loop whose `time()` is the program's own and may raise, or that has hooks around the wait.
pub struct FallibleWaiter<'a>(pub Waiter<'a>);

impl Driver<Job> for FallibleWaiter<'_> {
    type Error = Raised;

    fn wait(&self, wait: Wait, ready: &ReadyQueue<Job>) -> R<()> {
        let core = self.0 .0;
        core.overrides.check_failure()?;
        if !core.overrides.has_wait_hooks() {
            return self.0.wait(wait, ready);
        }
        registry::settle(core, self.0 .1);
        let wait = core.overrides.before_wait(wait)?;
        self.0.look(wait, ready)
    }

    fn before_jobs(&self) -> R<()> {
        let core = self.0 .0;
        core.overrides.check_failure()?;
        core.overrides.after_wait(core.scheduler.ready.len())?;
        self.0.before_jobs()
    }
}

impl LoopCore {
    /// Waits for the outside world, letting go of the GIL. Only to look takes no time: the GIL is kept, and [`LoopCore::give_way_if_due`] lets others run.
    fn wait(&self, wait: Wait) -> R<()> {
        let timeout = match wait {
            Wait::Poll => Some(Duration::ZERO),
            Wait::For(d) => Some(d.min(Duration::from_secs(24 * 3600))),
            Wait::Forever => None,
        };
        let result = if wait == Wait::Poll {
            self.io.reactor.wait(timeout)
        } else {
            self.watch.idle();
            self.contexts.clear();
            self.io.reactor.about_to_wait();
            let present = if self.hooks.is_attached() { recording::present(self) } else { None };
            // SAFETY: attached; nothing of Python is touched until the thread is attached again.
            let result = unsafe {
                let state = ffi::PyEval_SaveThread();
                self.progress.does(Doing::Waiting);
                let result = self.io.reactor.wait(timeout);
                if let Some(present) = &present {
                    present.wants_gil(Monotonic.now());
                }
                self.progress.does(Doing::WantsGil);
                ffi::PyEval_RestoreThread(state);
                result
            };
            if let Some(present) = &present {
                present.has_gil();
            }
            self.progress.goes_on();
            result
        };
        result.map_err(|e| os_error(&e))
    }

    /// While callbacks keep coming, looking for I/O costs a system call a turn. Nothing new can be there as a consequence of
    /// what this loop did if it has done no I/O since it looked; what others do may wait for a few turns.
    fn may_skip_poll(&self) -> bool {
        let skipped = self.skipped_polls.get();
        if self.io_touched.replace(false) || skipped >= MAX_SKIPPED || self.scheduler.is_stopping() {
            self.skipped_polls.set(0);
            return false;
        }
        self.skipped_polls.set(skipped + 1);
        true
    }
}
