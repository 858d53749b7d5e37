//! One step of a task: resume the coroutine in its context, then act on what it yielded, returned or raised.
//!
//! This is the one place where tasks are stepped, wait, are woken and finish; the event record and the cancel scopes
//! attach here.

use pyo3::ffi::{self, PyObject};

use super::future::{self, State};
use super::globals::{globals, repr};
use super::obj::{
    call, call_method, getattr_opt, is_instance, is_interrupt, is_true, raise, raise_object, runtime_error,
    take_raised, Raised,
};
use super::task::{self, state, TaskState};
use super::{registry, Obj, R};
use crate::structured::{nursery, parking_lot, wait};

/// Makes the task ready for a step (with an exception to throw, if any).
pub fn schedule(o: *mut PyObject, s: &TaskState, exc: Option<Obj>) -> R<()> {
    match s.future.core() {
        Some(core) if !core.is_closed() && !core.through_call_soon.get() => {
            task::push(core, o, exc);
            Ok(())
        }
        _ => task::call_soon_step(o, s, exc),
    }
}

/// The exception to throw into whoever awaited `future`, or None if it has a result.
pub fn exception_of(future: *mut PyObject) -> R<Option<Obj>> {
    if future::is_ours(future) {
        // SAFETY: ours.
        let s = unsafe { future::state(future) };
        return match s.state.get() {
            State::Finished => Ok(s.take_exception_to_raise()),
            State::Cancelled => s.make_cancelled_error().map(Some),
            State::Pending => {
                let _ = raise(globals().invalid_state_error, "Result is not set.");
                Ok(take_raised())
            }
        };
    }
    match call_method(globals().names.result, &[future]) {
        Ok(_) => Ok(None),
        // An interrupt too: it is the future's outcome, for the task that awaits it.
        Err(Raised) => Ok(take_raised()),
    }
}

/// A step on one of our loops: enters the task's context first.
pub fn step(o: *mut PyObject, exc: Option<Obj>) -> R<()> {
    // SAFETY: `o` is a task of ours, alive for the whole step.
    let s = unsafe { state(o) };
    let Some(context) = s.context.obj() else {
        return Ok(());
    };
    // SAFETY: entering fails cleanly if it is in use or no context.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        let step = task::step_callable(o)?;
        let exc = exc.unwrap_or_else(Obj::none);
        return run_in_foreign_context(&context, &[step.as_ptr(), exc.as_ptr()]);
    }
    let result = step_in_current_context(o, exc);
    leave_context(&context, result)
}

/// Entering a context was refused. For what is no Context: `context.run(callable, *args)`, which is how asyncio runs
/// every callback, so that anything with such a method will do.
#[cold]
pub fn run_in_foreign_context(context: &Obj, callable_and_args: &[*mut PyObject]) -> R<()> {
    // SAFETY: alive.
    if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } != 0 {
        return Err(Raised);
    }
    drop(take_raised());
    let mut all = vec![context.as_ptr()];
    all.extend_from_slice(callable_and_args);
    call_method(globals().names.context_run, &all).map(drop)
}

/// Leaves a context without disturbing an exception that is on its way out.
pub fn leave_context(context: &Obj, result: R<()>) -> R<()> {
    match result {
        Ok(()) => {
            // SAFETY: we entered it.
            if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
                return Err(Raised);
            }
            Ok(())
        }
        Err(Raised) => {
            let exc = take_raised();
            // SAFETY: as above.
            unsafe { ffi::PyContext_Exit(context.as_ptr()) };
            Err(exc.map_or(Raised, raise_object))
        }
    }
}

/// A step whose context the caller has entered.
pub fn step_in_current_context(o: *mut PyObject, exc: Option<Obj>) -> R<()> {
    // SAFETY: as above.
    let s = unsafe { state(o) };
    // SAFETY: `o` is alive; the extra reference keeps it so while its coroutine runs.
    let _alive = unsafe { Obj::borrowed(o) };
    let core = s.future.core();
    registry::enter(core, s.future.loop_.get(), o)?;
    let result = run(o, s, exc);
    match result {
        Ok(()) => registry::leave(core, s.future.loop_.get(), o),
        Err(Raised) => {
            let exc = take_raised();
            let left = registry::leave(core, s.future.loop_.get(), o);
            match exc {
                Some(exc) => Err(raise_object(exc)),
                None => left,
            }
        }
    }
}

/// The first step of an eager task, inside the step of the task that creates it.
pub fn eager_start(o: *mut PyObject) -> R<()> {
    // SAFETY: `o` is a task of ours.
    let s = unsafe { state(o) };
    let loop_ = s.future.loop_.obj_or_none();
    let outer = registry::swap_current(loop_.as_ptr(), o)?;
    let result = (|| {
        registry::register_eager(o)?;
        let context = s.context.obj_or_none();
        let stepped = run_eagerly(o, s, &context);
        // What unregisters is called without an exception pending.
        let raised = if stepped.is_err() { take_raised() } else { None };
        let unregistered = registry::unregister_eager(o);
        match raised {
            Some(exc) => Err(raise_object(exc)),
            None => unregistered,
        }
    })();
    let saved = if result.is_err() { take_raised() } else { None };
    registry::swap_current(loop_.as_ptr(), outer.as_ptr())?;
    if let Some(exc) = saved {
        return Err(raise_object(exc));
    }
    result?;
    if s.future.is_done() {
        s.coro.clear();
        return Ok(());
    }
    registry::register(o)
}

fn run_eagerly(o: *mut PyObject, s: &TaskState, context: &Obj) -> R<()> {
    // SAFETY: a context object.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(Raised);
    }
    let result = run(o, s, None);
    leave_context(context, result)
}

/// What the coroutine did.
enum Outcome {
    Yielded(Obj),
    Returned(Obj),
    Raised(Obj),
}

fn run(o: *mut PyObject, s: &TaskState, exc: Option<Obj>) -> R<()> {
    if s.future.is_done() {
        let e = exc.map_or_else(|| "None".to_owned(), |e| repr(e.as_ptr()));
        return Err(raise(globals().invalid_state_error, &format!("__step(): already done: {} {e}", repr(o))));
    }
    let exc = before_resume(s, exc)?;
    let Some(coro) = s.coro.obj() else {
        return Err(runtime_error("uninitialized Task object"));
    };
    if let Some(waited) = s.fut_waiter.take() {
        if !wait::is_wait(waited.as_ptr()) {
            registry::awaits_no_more(o, waited.as_ptr(), future::is_ours(waited.as_ptr()))?;
        }
    }
    let outer = s.future.core().map(|core| core.hooks.step(s.id.get()));
    tell(o, s, "before_step");
    if s.sleep_data.is_set() {
        s.sleep_data.clear();
    }
    let outcome = resume(&coro, exc);
    let how = match &outcome {
        Outcome::Yielded(value) if value.is_none() => 0,
        Outcome::Yielded(_) => 1,
        Outcome::Returned(_) | Outcome::Raised(_) => 2,
    };
    if matches!(outcome, Outcome::Yielded(_)) {
        s.schedule_points.set(s.schedule_points.get() + 1);
        s.cancel_points.set(s.cancel_points.get() + u64::from(!s.scope.holds()));
        task::show_to_collector(o);
    }
    let result = match outcome {
        Outcome::Yielded(value) => match yielded(o, s, value) {
            Ok(()) => s.scope.after_suspend(s),
            Err(Raised) => Err(Raised),
        },
        Outcome::Returned(value) => returned(o, s, value),
        Outcome::Raised(exc) => raised(o, s, exc),
    };
    // What the step's end has woken was woken by this task.
    if let (Some(core), Some(outer)) = (s.future.core(), outer) {
        s.since_turn.set(core.progress.turns());
        core.hooks.step_end(outer, how);
    }
    tell(o, s, "after_step");
    // SAFETY: alive. The job that is running and `step_in_current_context` have a reference each: with more, somebody keeps the
    // task, perhaps it itself.
    if s.future.is_done() && unsafe { ffi::Py_REFCNT(o) } > 2 {
        task::show_to_collector(o);
    }
    result
}

/// A requested cancellation takes the place of whatever else was to be thrown.
#[inline(always)]
fn before_resume(s: &TaskState, exc: Option<Obj>) -> R<Option<Obj>> {
    let exc = if s.must_cancel.get() {
        s.must_cancel.set(false);
        match exc {
            Some(e) if is_instance(e.as_ptr(), globals().cancelled_error) => Some(e),
            _ => Some(s.future.make_cancelled_error()?),
        }
    } else {
        exc
    };
    s.scope.before_resume(s, exc)
}

#[inline(always)]
fn resume(coro: &Obj, exc: Option<Obj>) -> Outcome {
    let mut value = std::ptr::null_mut();
    let status = match exc {
        // SAFETY: alive; `value` receives an owned reference or null.
        None => unsafe { ffi::PyIter_Send(coro.as_ptr(), ffi::Py_None(), &mut value) },
        Some(exc) => return throw(coro, exc),
    };
    // SAFETY: PyIter_Send's contract.
    unsafe {
        match status {
            ffi::PySendResult::PYGEN_NEXT => Outcome::Yielded(Obj::owned(value).unwrap_unchecked()),
            ffi::PySendResult::PYGEN_RETURN => Outcome::Returned(Obj::owned(value).unwrap_unchecked()),
            ffi::PySendResult::PYGEN_ERROR => from_error(),
        }
    }
}

fn throw(coro: &Obj, exc: Obj) -> Outcome {
    match call_method(globals().names.throw, &[coro.as_ptr(), exc.as_ptr()]) {
        Ok(value) => Outcome::Yielded(value),
        Err(Raised) => from_error(),
    }
}

/// A raised StopIteration is a return; everything else is an error.
fn from_error() -> Outcome {
    let Some(exc) = take_raised() else {
        // A coroutine-like object broke the protocol.
        let _ = runtime_error("the coroutine returned without a value and without an exception");
        return take_raised().map_or_else(|| Outcome::Returned(Obj::none()), Outcome::Raised);
    };
    // SAFETY: StopIteration is alive.
    if is_instance(exc.as_ptr(), unsafe { ffi::PyExc_StopIteration }) {
        let value = Obj::name("value").and_then(|name| super::obj::getattr(exc.as_ptr(), name.as_ptr()));
        if let Ok(value) = value {
            return Outcome::Returned(value);
        }
        // SAFETY: always allowed.
        unsafe { ffi::PyErr_Clear() };
    }
    Outcome::Raised(exc)
}

const RESULT: u64 = 0;
const EXCEPTION: u64 = 1;
const CANCELLED: u64 = 2;

fn finished(o: *mut PyObject, s: &TaskState, how: u64, exc: Option<&Obj>) {
    if let Some(core) = s.future.core() {
        if s.scope.ended(core, o).is_err() {
            super::obj::write_unraisable(o);
        }
        s.scope.leave(Some(core));
        if core.hooks.is_attached() {
            crate::recording::finished(core, s, how, exc);
        }
    }
    registry::done(o);
}

fn returned(o: *mut PyObject, s: &TaskState, value: Obj) -> R<()> {
    if s.must_cancel.get() {
        // Cancelled right before the coroutine ended.
        s.must_cancel.set(false);
        finished(o, s, CANCELLED, None);
        let message = s.future.cancel_message.obj();
        let done = future::cancel_on(o, message).map(drop);
        return ended(o, s, done, None);
    }
    finished(o, s, RESULT, None);
    let done = future::set_result_on(o, value);
    ended(o, s, done, None)
}

#[inline(always)]
fn tell(o: *mut PyObject, s: &TaskState, what: &str) {
    if let Some(core) = s.future.core() {
        if core.overrides.has_task_hook() {
            core.overrides.tell_of_task(what, o);
        }
    }
}

/// The coroutine goes on without the task (`segue.lowlevel.permanently_detach_coroutine_object`), which ends with an outcome.
fn detached(o: *mut PyObject, s: &TaskState, outcome: &Obj) -> R<()> {
    match getattr_opt(outcome.as_ptr(), Obj::name("error")?.as_ptr())? {
        Some(error) => raised(o, s, error),
        None => returned(o, s, super::obj::getattr(outcome.as_ptr(), Obj::name("value")?.as_ptr())?),
    }
}

/// The task is done: whoever keeps it is told, also if telling its callbacks (`done`) went wrong.
#[inline(always)]
fn ended(o: *mut PyObject, s: &TaskState, done: R<()>, exc: Option<&Obj>) -> R<()> {
    let Err(Raised) = done else { return tell_keepers(o, s, exc) };
    let failure = take_raised();
    if tell_keepers(o, s, exc).is_err() {
        super::obj::write_unraisable(o);
    }
    Err(failure.map_or(Raised, raise_object))
}

#[inline(always)]
fn tell_keepers(o: *mut PyObject, s: &TaskState, exc: Option<&Obj>) -> R<()> {
    let told = tell_lots_and_nurseries(o, s, exc);
    let failure = if told.is_err() { take_raised() } else { None };
    // Last, as with Trio: what its end has set off is told before it.
    tell(o, s, "exited");
    match failure {
        Some(failure) => Err(raise_object(failure)),
        None => told,
    }
}

#[inline(always)]
fn tell_lots_and_nurseries(o: *mut PyObject, s: &TaskState, exc: Option<&Obj>) -> R<()> {
    let lots = s.breaks.take();
    if lots.is_some() {
        s.breaks.set(lots);
        parking_lot::task_ended(o, s)?;
    }
    if s.nurseries.is_set() || s.nursery.is_set() {
        return nursery::task_ended(o, s, exc);
    }
    Ok(())
}

fn raised(o: *mut PyObject, s: &TaskState, exc: Obj) -> R<()> {
    let interrupt = crate::failure::witness(o, &exc);
    let and_interrupt = |done: R<()>| match interrupt {
        Some(interrupt) if done.is_ok() => Err(raise_object(interrupt)),
        _ => done,
    };
    if is_instance(exc.as_ptr(), globals().cancelled_error) {
        finished(o, s, CANCELLED, Some(&exc));
        let message = s.future.cancel_message.obj();
        s.future.cancelled_exc.set(exc.clone());
        let done = future::cancel_on(o, message).and_then(|_| crate::recorder::cancelled(o, s, &exc));
        return ended(o, s, and_interrupt(done), Some(&exc));
    }
    finished(o, s, EXCEPTION, Some(&exc));
    let done = future::set_exception_on(o, exc.as_ptr()).and_then(|()| crate::recorder::failed(o, s, &exc));
    let done = and_interrupt(done);
    let of_nursery = s.nursery.is_set();
    ended(o, s, done, Some(&exc))?;
    // A nursery passes it on, to its parent.
    if of_nursery {
        return Ok(());
    }
    if is_interrupt(exc.as_ptr()) {
        return Err(raise_object(exc));
    }
    Ok(())
}

/// The coroutine suspended: arrange for what it yielded to wake the task.
fn yielded(o: *mut PyObject, s: &TaskState, value: Obj) -> R<()> {
    let p = value.as_ptr();
    let g = globals();
    if value.is_none() {
        if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
            crate::recording::yields(core, s);
        }
        return schedule(o, s, None);
    }
    if p == o {
        return throw_runtime_error(o, s, &format!("Task cannot await on itself: {}", repr(o)));
    }
    if wait::is_wait(p) {
        return wait_in_queue(o, s, value);
    }
    if future::is_ours(p) {
        return wait_for_ours(o, s, value);
    }
    let blocking = getattr_opt(p, g.names.blocking)?.filter(|b| !b.is_none());
    let Some(blocking) = blocking else {
        return bad_yield(o, s, p);
    };
    let loop_ = future::loop_of(p)?;
    if loop_.as_ptr() != s.future.loop_.get() {
        return different_loop(o, s, p);
    }
    if !is_true(blocking.as_ptr())? {
        return yield_instead_of_from(o, s, p);
    }
    super::obj::setattr(p, g.names.blocking, Obj::bool(false).as_ptr())?;
    let wakeup = task::wakeup_callable(o)?;
    let context = s.context.obj_or_none();
    let add = super::obj::getattr(p, g.names.add_done_callback)?;
    super::obj::call_kw(add.as_ptr(), &[wakeup.as_ptr(), context.as_ptr()], g.kw_context)?;
    note_wait(s, p);
    registry::awaits(o, p, false)?;
    s.fut_waiter.set(value);
    cancel_new_waiter(s)
}

/// What is waited for wakes the task by itself.
#[inline(always)]
fn wait_in_queue(o: *mut PyObject, s: &TaskState, value: Obj) -> R<()> {
    let p = value.as_ptr();
    // SAFETY: the caller has checked.
    let wait = unsafe { wait::state(p) };
    if wait.task.get() != o {
        return yield_instead_of_from(o, s, p);
    }
    note_wait(s, p);
    s.fut_waiter.set(value);
    cancel_new_waiter(s)
}

#[inline(always)]
fn note_wait(s: &TaskState, on: *mut PyObject) {
    if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
        crate::recording::waits(core, s, on);
    }
}

#[inline(always)]
fn wait_for_ours(o: *mut PyObject, s: &TaskState, value: Obj) -> R<()> {
    let p = value.as_ptr();
    // SAFETY: ours.
    let f = unsafe { future::state(p) };
    if f.loop_.get() != s.future.loop_.get() {
        return different_loop(o, s, p);
    }
    if !f.blocking.get() {
        return yield_instead_of_from(o, s, p);
    }
    f.blocking.set(false);
    if f.core().is_some() {
        // SAFETY: alive.
        future::add_waiter(p, unsafe { Obj::borrowed(o) })?;
    } else {
        let g = globals();
        let wakeup = task::wakeup_callable(o)?;
        let context = s.context.obj_or_none();
        let args = [p, wakeup.as_ptr(), context.as_ptr()];
        super::obj::call_method_kw(g.names.add_done_callback, &args, g.kw_context)?;
    }
    note_wait(s, p);
    registry::awaits(o, p, true)?;
    s.fut_waiter.set(value);
    cancel_new_waiter(s)
}

/// A cancellation that was requested while the task ran reaches what it now waits for.
#[inline(always)]
fn cancel_new_waiter(s: &TaskState) -> R<()> {
    if s.must_cancel.get() {
        let Some(waiter) = s.fut_waiter.obj() else {
            return Ok(());
        };
        let message = s.future.cancel_message.obj();
        if future::cancel_any(waiter.as_ptr(), message.as_ref())? {
            s.must_cancel.set(false);
        }
    }
    Ok(())
}

#[cold]
fn throw_runtime_error(o: *mut PyObject, s: &TaskState, text: &str) -> R<()> {
    // SAFETY: RuntimeError is alive.
    let exc = call(unsafe { ffi::PyExc_RuntimeError }, &[Obj::str(text)?.as_ptr()])?;
    schedule(o, s, Some(exc))
}

#[cold]
fn different_loop(o: *mut PyObject, s: &TaskState, p: *mut PyObject) -> R<()> {
    throw_runtime_error(o, s, &format!("Task {} got Future {} attached to a different loop", repr(o), repr(p)))
}

#[cold]
fn yield_instead_of_from(o: *mut PyObject, s: &TaskState, p: *mut PyObject) -> R<()> {
    throw_runtime_error(o, s, &format!("yield was used instead of yield from in task {} with {}", repr(o), repr(p)))
}

#[cold]
fn bad_yield(o: *mut PyObject, s: &TaskState, p: *mut PyObject) -> R<()> {
    if let Some(outcome) = getattr_opt(p, Obj::name("_segue_detached")?.as_ptr())? {
        return detached(o, s, &outcome);
    }
    // SAFETY: alive.
    let text = if unsafe { ffi::PyGen_CheckExact(p) } != 0 {
        format!("yield was used instead of yield from for generator in task {} with {}", repr(o), repr(p))
    } else {
        format!("Task got bad yield: {}", repr(p))
    };
    throw_runtime_error(o, s, &text)
}
