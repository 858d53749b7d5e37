//! What a program puts in the place of the core's own `time`, `call_soon` and `call_at`: a subclass that defines them,
//! or an attribute set on one loop (a mock clock). asyncio's loop asks all three through `self`, so such a loop works
//! there; the core's short ways around them are taken only while nothing is overridden.
//!
//! Besides, three attributes that a loop has only if a program (or `segue.testing`) sets them:
//!
//! | attribute | called |
//! |---|---|
//! | `_before_wait(seconds)` | before every wait, with its length on the loop's own clock (None: until something happens); returns the real length |
//! | `_after_wait(ready)` | after it and after the timers that are due were collected, with how much is ready; may schedule more |
//! | `_task_hook(what, task)` | when a task is "spawned", "scheduled", before and after a step ("before_step", "after_step"), when it has "exited" |
//!
//! Found out when a loop is made, when it begins to run, and when one of the names is set on it or deleted: never per
//! call. Called by `event_loop` and asked by what schedules.

use std::cell::Cell;
use std::time::Duration;

use pyo3::ffi::{self, PyObject};
use sched::{Clock, Nanos, Wait};

use crate::event_loop::LoopCore;
use crate::job::visit_raw;
use crate::raw::globals::{globals, Names};
use crate::raw::obj::{call, call_method, getattr, getattr_opt, raise_object, take_raised, write_unraisable};
use crate::raw::{Obj, Slot, R};

#[derive(Default)]
pub struct Overrides {
    time: Cell<bool>,
    call_soon: Cell<bool>,
    call_at: Cell<bool>,
    before_wait: Slot,
    after_wait: Slot,
    task_hook: Slot,
    /// The loop object around the core, borrowed: set before any of the above is.
    me: Cell<*mut PyObject>,
    /// What `time()` raised where nothing could be raised; see [`LoopClock`].
    failure: Slot,
}

impl Overrides {
    #[inline(always)]
    pub fn time(&self) -> bool {
        self.time.get()
    }

    #[inline(always)]
    pub fn call_at(&self) -> bool {
        self.call_at.get()
    }

    #[inline(always)]
    pub fn call_soon(&self) -> bool {
        self.call_soon.get()
    }

    /// Looks again at what is overridden on `slf`.
    pub fn look(&self, slf: *mut PyObject) -> R<()> {
        let names = &globals().names;
        self.me.set(slf);
        self.time.set(is_overridden(slf, names.time)?);
        self.call_soon.set(is_overridden(slf, names.call_soon)?);
        self.call_at.set(is_overridden(slf, names.call_at)?);
        for (place, name) in [
            (&self.before_wait, names.before_wait),
            (&self.after_wait, names.after_wait),
            (&self.task_hook, names.task_hook),
        ] {
            drop(place.replace(getattr_opt(slf, name)?));
        }
        Ok(())
    }

    /// The loop object around the core, borrowed; null while it is being made.
    pub fn loop_object(&self) -> *mut PyObject {
        self.me.get()
    }

    /// Whether a turn has to go the long way: over the program's own clock or hooks.
    #[inline(always)]
    pub fn turn(&self) -> bool {
        self.time.get() || self.before_wait.is_set() || self.after_wait.is_set()
    }

    /// Asks `_before_wait` how long to wait really.
    pub fn before_wait(&self, wait: Wait) -> R<Wait> {
        let Some(hook) = self.before_wait.obj() else { return Ok(wait) };
        let asked = match wait {
            Wait::Poll => Obj::float(0.0)?,
            Wait::For(d) => Obj::float(d.as_secs_f64())?,
            Wait::Forever => Obj::none(),
        };
        let answer = call(hook.as_ptr(), &[asked.as_ptr()])?;
        if answer.is_none() {
            return Ok(Wait::Forever);
        }
        let seconds = seconds(&answer)?;
        Ok(if seconds > 0.0 {
            Wait::For(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        } else {
            Wait::Poll
        })
    }

    pub fn has_wait_hooks(&self) -> bool {
        self.before_wait.is_set() || self.after_wait.is_set()
    }

    pub fn after_wait(&self, ready: usize) -> R<()> {
        let Some(hook) = self.after_wait.obj() else { return Ok(()) };
        call(hook.as_ptr(), &[Obj::int(ready as i64)?.as_ptr()]).map(drop)
    }

    /// Whether somebody wants to hear about tasks.
    #[inline(always)]
    pub fn has_task_hook(&self) -> bool {
        self.task_hook.is_set()
    }

    /// Tells `_task_hook`; what it raises is nobody's.
    #[cold]
    pub fn tell_of_task(&self, what: &str, task: *mut PyObject) {
        let Some(hook) = self.task_hook.obj() else { return };
        let saved = take_raised();
        if Obj::name(what).and_then(|what| call(hook.as_ptr(), &[what.as_ptr(), task])).is_err() {
            write_unraisable(hook.as_ptr());
        }
        if let Some(saved) = saved {
            raise_object(saved);
        }
    }

    pub fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        for slot in [&self.failure, &self.before_wait, &self.after_wait, &self.task_hook] {
            visit_raw(visit, slot.get())?;
        }
        Ok(())
    }

    /// Raises what `time()` raised since the last look.
    pub fn check_failure(&self) -> R<()> {
        match self.failure.take() {
            None => Ok(()),
            Some(exc) => Err(raise_object(exc)),
        }
    }

    pub fn clear(&self) {
        let old = [&self.failure, &self.before_wait, &self.after_wait, &self.task_hook].map(Slot::take);
        drop(old);
    }
}

/// Whether an attribute's name is one that [`Overrides::look`] looks at.
pub fn is_watched(name: *mut PyObject) -> R<bool> {
    let Names { time, call_soon, call_at, before_wait, after_wait, task_hook, .. } = globals().names;
    for watched in [time, call_soon, call_at, before_wait, after_wait, task_hook] {
        // SAFETY: both alive; names of attributes are strings, anything else has been refused by then.
        match unsafe { ffi::PyUnicode_Compare(name, watched) } {
            0 => return Ok(true),
            // SAFETY: attached.
            -1 if !unsafe { ffi::PyErr_Occurred() }.is_null() => return Err(crate::raw::Raised),
            _ => {}
        }
    }
    Ok(false)
}

fn is_overridden(slf: *mut PyObject, name: *mut PyObject) -> R<bool> {
    // SAFETY: alive; its type lives as long as it does.
    let class = unsafe { ffi::Py_TYPE(slf) };
    let own = getattr(globals().loop_type.cast(), name)?;
    if getattr(class.cast(), name)?.as_ptr() != own.as_ptr() {
        return Ok(true);
    }
    let Some(attributes) = getattr_opt(slf, globals().names.dict)? else {
        return Ok(false);
    };
    // SAFETY: both alive.
    match unsafe { ffi::PyMapping_HasKey(attributes.as_ptr(), name) } {
        0 => Ok(false),
        _ => Ok(true),
    }
}

/// The loop's time as its own `time()` gives it. Raises what that raises.
#[cold]
fn overridden_time(core: &LoopCore) -> R<f64> {
    seconds(&call_method(globals().names.time, &[core.overrides.me.get()])?)
}

fn seconds(number: &Obj) -> R<f64> {
    // SAFETY: alive; -1 with an error for what isn't a number.
    let seconds = unsafe { ffi::PyFloat_AsDouble(number.as_ptr()) };
    // SAFETY: attached.
    if seconds == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(crate::raw::Raised);
    }
    Ok(seconds)
}

impl LoopCore {
    /// `self.time()`: the real clock, unless that is overridden.
    #[inline(always)]
    pub fn time_object(&self) -> R<Obj> {
        if self.overrides.time() {
            return call_method(globals().names.time, &[self.overrides.me.get()]);
        }
        Obj::float(self.clock.now() as f64 / 1e9)
    }

    /// The same, in seconds.
    pub fn seconds(&self) -> R<f64> {
        if self.overrides.time() {
            return overridden_time(self);
        }
        Ok(self.clock.now() as f64 / 1e9)
    }

    /// The clock that timers and deadlines of this loop are measured with.
    #[inline(always)]
    pub fn loop_clock(&self) -> LoopClock<'_> {
        LoopClock(self)
    }
}

/// See [`LoopCore::loop_clock`]. May call Python, so no borrow may be held across it. A `time()` that raises counts as
/// "nothing is due", and the turn raises it before it waits or runs a job ([`Overrides::check_failure`]).
pub struct LoopClock<'a>(&'a LoopCore);

impl Clock for LoopClock<'_> {
    #[inline(always)]
    fn now(&self) -> Nanos {
        if !self.0.overrides.time() {
            return self.0.clock.now();
        }
        match overridden_time(self.0) {
            // A timer is due once `when < time() + resolution`, as in asyncio; timers round up, so this must too.
            Ok(seconds) => sched::clock::nanos_from_secs(seconds).saturating_add(1),
            Err(crate::raw::Raised) => {
                let failure = take_raised();
                drop(self.0.overrides.failure.replace(failure));
                0
            }
        }
    }
}
