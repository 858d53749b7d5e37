//! Running one job of the ready queue: the callback, step or I/O it stands for, and the reports of what raised or was slow.
//!
//! Called by the loop's turn for each job. Whether a task or handle is still to run is theirs to say; what is ready on a
//! descriptor is `io.rs`'s.

use std::os::fd::RawFd;

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use sched::{Clock, Flow};

use crate::event_loop::LoopCore;
use crate::io::{Ready, Watcher};
use crate::job::Job;
use crate::raw::obj::{call, call_method, forget_raised, is_interrupt, raise_object, take_raised};
use crate::raw::{handle, registry, task, task_step, Obj, Raised, R};
use crate::recording;
use crate::structured::start::{self, Note};

impl LoopCore {
    /// Runs a job; an interrupt that it raised breaks the turn, every other exception is reported.
    #[inline(always)]
    pub fn run_job(&self, slf: *mut PyObject, job: Job) -> Flow<Raised> {
        if self.debug.get() {
            return self.run_in_debug_mode(slf, job);
        }
        self.run(slf, job)
    }

    /// With the watchdog told what runs, and a report if it took long.
    #[cold]
    fn run_in_debug_mode(&self, slf: *mut PyObject, job: Job) -> Flow<Raised> {
        let Some(what) = What::of(self, &job) else {
            return self.run(slf, job);
        };
        let started = self.clock.now();
        self.watch.busy(started, describe(&job));
        let flow = self.run(slf, job);
        self.watch.idle();
        self.report_if_slow(slf, &what, started);
        flow
    }

    #[inline(always)]
    fn run(&self, slf: *mut PyObject, job: Job) -> Flow<Raised> {
        match job {
            Job::Step(task) => {
                let result = task_step::step(task.as_ptr(), None);
                return self.flow(slf, result, || What::Step(task));
            }
            Job::Start(note) => {
                let task = match start::begin(self, &note) {
                    Ok(Some(task)) => task,
                    Ok(None) => return Flow::Continue,
                    Err(Raised) => return self.failed(slf, &What::Start(note)),
                };
                drop(note);
                let result = task_step::step(task.as_ptr(), None);
                return self.flow(slf, result, || What::Step(task));
            }
            Job::Wake { task, future } => {
                let result = task_step::exception_of(future.as_ptr()).and_then(|exc| {
                    drop(future);
                    task_step::step(task.as_ptr(), exc)
                });
                return self.flow(slf, result, || What::Step(task));
            }
            Job::Throw { task, exc } => {
                let result = task_step::step(task.as_ptr(), Some(exc));
                return self.flow(slf, result, || What::Step(task));
            }
            _ => {}
        }
        registry::settle(self, slf);
        if self.hooks.is_attached() {
            return self.run_recorded(slf, job);
        }
        self.run_callback(slf, job)
    }

    /// With the hooks told what runs that is no step of a task.
    #[cold]
    fn run_recorded(&self, slf: *mut PyObject, job: Job) -> Flow<Raised> {
        let name = recording::callback_name(self, &job);
        self.hooks.callback(recording::doing(&job));
        let flow = self.run_callback(slf, job);
        self.hooks.callback_end(name);
        flow
    }

    #[inline(always)]
    fn run_callback(&self, slf: *mut PyObject, job: Job) -> Flow<Raised> {
        match job {
            Job::Io { token, ready } => match self.look_up(token, ready) {
                Ready::Object(object, on_ready) => {
                    let result = on_ready(object.as_ptr(), ready);
                    self.flow(slf, result, || What::Source(object))
                }
                Ready::Watchers(fd, reader, writer) => self.run_watchers(slf, fd, reader, writer),
                Ready::Nothing => Flow::Continue,
            },
            Job::Handle(o) => self.run_handle(slf, o),
            Job::Timer(o) => {
                handle::fired(&o);
                self.run_handle(slf, o)
            }
            Job::Callback { call, future, context } => {
                let result = run_callback(&call, &future, &context);
                self.flow(slf, result, || What::Callback { call, future, context })
            }
            Job::Deadline(scope) => {
                let result = crate::cancel_scope::deadline_reached(&scope);
                self.flow(slf, result, || What::Source(scope))
            }
            Job::Step(_) | Job::Start(_) | Job::Wake { .. } | Job::Throw { .. } => unreachable!("has run above"),
        }
    }

    #[inline(always)]
    fn run_handle(&self, slf: *mut PyObject, o: Obj) -> Flow<Raised> {
        let mut flow = Flow::Continue;
        if !handle::Handle::of(&o).is_cancelled() && handle::run(&o).is_err() {
            flow = self.failed(slf, &What::Handle(o.clone()));
        }
        handle::recycle(self, o);
        flow
    }

    /// A descriptor of the user's is ready.
    fn run_watchers(
        &self,
        slf: *mut PyObject,
        fd: RawFd,
        reader: Option<Watcher>,
        writer: Option<Watcher>,
    ) -> Flow<Raised> {
        for watcher in reader.into_iter().chain(writer) {
            let flow = match watcher {
                // Through `run_job`, so that debug mode sees each.
                Watcher::Handle(handle) => self.run_job(slf, Job::Handle(handle)),
                Watcher::Operation(operation) => {
                    let result = operation.on_ready(self, fd);
                    self.flow(slf, result, || What::Source(operation.future.clone()))
                }
            };
            if let Flow::Break(e) = flow {
                return Flow::Break(e);
            }
        }
        Flow::Continue
    }

    #[inline(always)]
    fn look_up(&self, token: u64, ready: net::Readiness) -> Ready {
        let found = self.io.look_up(token, ready);
        // A socket operation only tells a task that it can go on; what the task does then is noted by itself.
        if !matches!(&found, Ready::Watchers(_, r, w) if ![r, w].iter().any(|s| matches!(s, Some(Watcher::Handle(_)))))
        {
            self.io_touched.set(true);
        }
        found
    }

    #[inline(always)]
    fn flow(&self, slf: *mut PyObject, result: R<()>, what: impl FnOnce() -> What) -> Flow<Raised> {
        match result {
            Ok(()) => Flow::Continue,
            Err(Raised) => self.failed(slf, &what()),
        }
    }

    /// A callback raised: interrupts leave the loop, everything else goes to the exception handler.
    #[cold]
    fn failed(&self, slf: *mut PyObject, what: &What) -> Flow<Raised> {
        let Some(exc) = take_raised() else {
            return Flow::Continue;
        };
        if is_interrupt(exc.as_ptr()) {
            return Flow::Break(raise_object(exc));
        }
        let report = || -> R<()> {
            let name = Obj::name("_callback_failed")?;
            let handle = what.handle(slf)?;
            call_method(name.as_ptr(), &[slf, handle.as_ptr(), exc.as_ptr()]).map(drop)
        };
        match report() {
            Ok(()) => Flow::Continue,
            // The handler itself let an interrupt through; anything else it has reported already.
            Err(Raised) => Flow::Break(Raised),
        }
    }

    #[cold]
    fn report_if_slow(&self, slf: *mut PyObject, what: &What, started: u64) {
        let seconds = (self.clock.now() - started) as f64 / 1e9;
        if seconds < self.slow_callback_duration.get() || !self.debug.get() {
            return;
        }
        let report = || -> R<()> {
            let name = Obj::name("_callback_was_slow")?;
            let handle = what.handle(slf)?;
            let seconds = Obj::float(seconds)?;
            call_method(name.as_ptr(), &[slf, handle.as_ptr(), seconds.as_ptr()]).map(drop)
        };
        if report().is_err() {
            crate::raw::obj::write_unraisable(slf);
        }
    }
}

#[inline(always)]
fn run_callback(callback: &Obj, future: &Obj, context: &Obj) -> R<()> {
    // SAFETY: entering fails cleanly if it is in use or no context.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return task_step::run_in_foreign_context(context, &[callback.as_ptr(), future.as_ptr()]);
    }
    let result = call(callback.as_ptr(), &[future.as_ptr()]).map(drop);
    task_step::leave_context(context, result)
}

/// A job in words, for debug mode's reports: short, since it is made for every callback.
#[cold]
fn describe(job: &Job) -> String {
    match job {
        Job::Deadline(_) => "a cancel scope's deadline".to_owned(),
        Job::Handle(o) | Job::Timer(o) => describe_callable(handle::Handle::of(o).callback_ptr()),
        Job::Step(task) | Job::Throw { task, .. } | Job::Wake { task, .. } => describe_task(task.as_ptr()),
        Job::Callback { call, .. } => describe_callable(call.as_ptr()),
        Job::Start(note) => describe_callable(note.function()),
        Job::Io { .. } => "A transport's or watched descriptor's callback".to_owned(),
    }
}

fn describe_callable(o: *mut PyObject) -> String {
    if o.is_null() {
        return "A callback".to_owned();
    }
    // SAFETY: attached; alive.
    let o = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), o) };
    match o.getattr(intern!(o.py(), "__self__")) {
        Ok(owner) if crate::raw::future::is_task(owner.as_ptr()) => return describe_task(owner.as_ptr()),
        Ok(_) => {}
        Err(e) => forget(e),
    }
    let name = o.getattr(intern!(o.py(), "__qualname__")).and_then(|n| n.extract::<String>());
    let name = name.unwrap_or_else(|e| {
        forget(e);
        crate::raw::globals::repr(o.as_ptr())
    });
    format!("Callback {name}")
}

fn describe_task(o: *mut PyObject) -> String {
    // SAFETY: attached; a task of ours.
    let (py, s) = unsafe { (Python::assume_attached(), task::state(o)) };
    let name = match task::name(o) {
        Ok(name) => name.bound(py).to_string(),
        Err(Raised) => {
            forget_raised();
            String::new()
        }
    };
    let coro = s.coro.obj_or_none();
    let coro = coro.bound(py);
    let place = coro.getattr(intern!(py, "cr_code")).and_then(|code| {
        let file: String = code.getattr(intern!(py, "co_filename"))?.extract()?;
        let line: i64 = code.getattr(intern!(py, "co_firstlineno"))?.extract()?;
        let function: String = code.getattr(intern!(py, "co_qualname"))?.extract()?;
        Ok(format!("{function}, {file}:{line}"))
    });
    match place {
        Ok(place) => format!("Task {name} ({place})"),
        Err(e) => {
            forget(e);
            format!("Task {name}")
        }
    }
}

fn forget(e: PyErr) {
    let Raised = Raised::from(e);
    forget_raised();
}

/// What ran, kept for reports.
enum What {
    Handle(Obj),
    Step(Obj),
    Start(Note),
    Callback { call: Obj, future: Obj, context: Obj },
    Source(Obj),
}

impl What {
    /// What a job is about to run; none where that is reported by parts of it.
    fn of(core: &LoopCore, job: &Job) -> Option<What> {
        Some(match job {
            Job::Handle(o) | Job::Timer(o) => What::Handle(o.clone()),
            Job::Step(task) | Job::Throw { task, .. } | Job::Wake { task, .. } => What::Step(task.clone()),
            Job::Start(note) => What::Start(note.clone()),
            Job::Callback { call, future, context } => {
                What::Callback { call: call.clone(), future: future.clone(), context: context.clone() }
            }
            Job::Deadline(scope) => What::Source(scope.clone()),
            Job::Io { token, ready } => match core.io.look_up(*token, *ready) {
                Ready::Object(object, _) => What::Source(object),
                Ready::Watchers(..) | Ready::Nothing => return None,
            },
        })
    }

    /// A handle that stands for it, as asyncio's reports show one. None for I/O of our own.
    fn handle(&self, loop_: *mut PyObject) -> R<Obj> {
        match self {
            What::Handle(o) => Ok(o.clone()),
            What::Step(task) => {
                let step = task::step_callable(task.as_ptr())?;
                handle::new(loop_, step.as_ptr(), &[], Obj::none())
            }
            What::Start(note) => handle::new(loop_, note.function(), &[], Obj::none()),
            What::Callback { call, future, context } => {
                handle::new(loop_, call.as_ptr(), &[future.as_ptr()], context.clone())
            }
            What::Source(o) => Ok(o.clone()),
        }
    }
}
