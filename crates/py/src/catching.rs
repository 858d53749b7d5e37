//! What a cancel scope catches at its end: of all exceptions that pass, those that a scope threw.
//!
//! Rule 1: a scope's cancellation is known by its tag (`cancellation.rs`), never by class or message.
//! Rule 2: a `Task.cancel` that was being handled when a scope's cancellation came, and was not taken back, is not caught.
//! Rule 3: an untagged CancelledError stands for the tagged one it was raised from or, where a library raised a fresh one
//!         after swallowing ours, for that.
//!
//! Whether the scope may catch at all (it is cancelled and no visible scope around it is) is the cancel tree's to say.

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict};
use sched::CancelSource;

use crate::cancellation::{is_cancelled_error, source_of};
use crate::raw::obj::is_instance;
use crate::raw::{task, Obj, R};

/// Takes what scopes threw out of `exc`: whether there was any, and what is left.
/// `host` is the task that entered the scope, `requests` its `cancelling()` at that time.
pub fn split(exc: Bound<'_, PyAny>, host: &Obj, requests: i64) -> PyResult<(bool, Option<Obj>)> {
    let py = exc.py();
    if is_cancelled_error(exc.as_ptr()) {
        let own = is_a_scopes(py, exc.as_ptr(), host, requests)?;
        return Ok((own, (!own).then(|| Obj::from(exc))));
    }
    // SAFETY: the class lives as long as the interpreter.
    if !is_instance(exc.as_ptr(), unsafe { ffi::PyExc_BaseExceptionGroup }) {
        return Ok((false, Some(Obj::from(exc))));
    }
    let host = host.bound(py).clone().unbind();
    let is_own = PyCFunction::new_closure(py, None, None, move |args, _: Option<&Bound<'_, PyDict>>| {
        let leaf = args.get_item(0)?;
        let host = Obj::from(host.bind(args.py()).clone());
        Ok::<_, PyErr>(is_cancelled_error(leaf.as_ptr()) && is_a_scopes(args.py(), leaf.as_ptr(), &host, requests)?)
    })?;
    let halves = exc.call_method1(intern!(py, "split"), (python_function(is_own)?,))?;
    let (caught, rest): (Bound<'_, PyAny>, Bound<'_, PyAny>) = halves.extract()?;
    if caught.is_none() {
        return Ok((false, Some(Obj::from(exc))));
    }
    if rest.is_none() {
        return Ok((true, None));
    }
    // A nursery that isn't strict wants no group around a single exception.
    let rest = py.import(intern!(py, "segue._nursery"))?.call_method1(intern!(py, "_collapsed"), (rest,))?;
    Ok((true, Some(Obj::from(rest))))
}

fn is_a_scopes(py: Python<'_>, exc: *mut PyObject, host: &Obj, requests: i64) -> R<bool> {
    // SAFETY: the host of a scope is a task of ours.
    let s = unsafe { task::state(host.as_ptr()) };
    let requested = s.cancel_requests.get() > requests;
    let mut own = source_of(py, exc)?.map(CancelSource::is_scoped);
    let mut earlier = Earlier::than(exc);
    while own.is_none() || (own == Some(true) && requested) {
        let Some(exc) = earlier.next() else { break };
        match (own, source_of(py, exc.as_ptr())?.map(CancelSource::is_scoped)) {
            (_, Some(false)) if requested => return Ok(false),
            (None, found) => own = found,
            _ => {}
        }
    }
    Ok(own.unwrap_or_else(|| !requested && s.scope.was_delivered()))
}

/// A function in Python around one in Rust: before 3.13 `split` takes nothing else.
fn python_function(f: Bound<'_, PyCFunction>) -> PyResult<Bound<'_, PyAny>> {
    static WRAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = f.py();
    let wrap = WRAP.get_or_try_init(py, || -> PyResult<_> {
        Ok(py.eval(c"lambda f: lambda exc: f(exc)", None, None)?.unbind())
    })?;
    wrap.bind(py).call1((f,))
}

/// Walks `__cause__`, or else `__context__`, of an exception: the CancelledErrors among them.
struct Earlier {
    at: Option<Obj>,
    steps: u32,
}

impl Earlier {
    fn than(exc: *mut PyObject) -> Earlier {
        // SAFETY: alive.
        Earlier { at: Some(unsafe { Obj::borrowed(exc) }), steps: 0 }
    }
}

impl Iterator for Earlier {
    type Item = Obj;

    fn next(&mut self) -> Option<Obj> {
        while self.steps < 100 {
            self.steps += 1;
            let at = self.at.take()?;
            // SAFETY: exceptions; both return a new reference or null.
            let earlier = unsafe {
                Obj::owned(ffi::PyException_GetCause(at.as_ptr()))
                    .or_else(|_| Obj::owned(ffi::PyException_GetContext(at.as_ptr())))
            };
            self.at = Some(earlier.ok()?);
            if let Some(found) = self.at.as_ref().filter(|e| is_cancelled_error(e.as_ptr())) {
                return Some(found.clone());
            }
        }
        None
    }
}
