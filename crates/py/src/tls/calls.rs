//! What a connection asks of its loop and of Python's objects, for what happens a few times in its life.

use pyo3::ffi::{self, PyObject};

use super::python_ssl::call_named;
use super::state::Tls;
use crate::raw::globals::{attr, globals};
use crate::raw::obj::call_method;
use crate::raw::{Obj, Raised, Slot, R};

impl Tls {
    pub fn debug(&self) -> bool {
        self.core().is_some_and(|c| c.debug.get())
    }

    pub fn call_soon(&self, callable: &Obj, args: &[*mut PyObject]) -> R<()> {
        let loop_ = self.loop_.obj_or_none();
        let mut all = vec![loop_.as_ptr(), callable.as_ptr()];
        all.extend_from_slice(args);
        call_method(globals().names.call_soon, &all).map(drop)
    }

    /// Calls `o.method()` after this many seconds; returns the handle.
    pub fn call_later(&self, seconds: &Obj, o: *mut PyObject, method: &str) -> R<Obj> {
        // SAFETY: alive.
        let callable = attr(&unsafe { Obj::borrowed(o) }, method)?;
        call_named(self.loop_.obj_or_none().as_ptr(), "call_later", &[seconds.as_ptr(), callable.as_ptr()])
    }

    /// Cancels a timer and forgets it.
    pub fn cancel(&self, timer: &Slot) -> R<()> {
        match timer.take() {
            Some(timer) => call_method(globals().names.cancel, &[timer.as_ptr()]).map(drop),
            None => Ok(()),
        }
    }

    pub fn put_extra(&self, key: &str, value: &Obj) -> R<()> {
        let Some(extra) = self.extra.obj() else { return Ok(()) };
        let key = Obj::str(key)?;
        // SAFETY: a dict, a key and a value, all alive.
        match unsafe { ffi::PyDict_SetItem(extra.as_ptr(), key.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    pub fn set_app_protocol(&self, protocol: Obj) -> R<()> {
        // SAFETY: both alive.
        let buffered = match unsafe { ffi::PyObject_IsInstance(protocol.as_ptr(), globals().buffered_protocol) } {
            -1 => return Err(Raised),
            n => n == 1,
        };
        self.app_protocol.set(protocol);
        self.app_is_buffered.set(buffered);
        Ok(())
    }
}
