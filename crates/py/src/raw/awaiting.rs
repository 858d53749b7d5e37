//! How an awaitable of ours answers the three ways in which it can be resumed: `next()`, the interpreter's own send, `send()`.

use pyo3::ffi::{self, PyObject};

use super::obj::{call, guard, raise_object};
use super::{Obj, Raised, R};

/// What one resumption comes to.
pub enum Step {
    Yield(Obj),
    Return(Obj),
}

/// `tp_iternext`.
#[inline(always)]
pub fn iternext(step: impl FnOnce() -> R<Step>) -> *mut PyObject {
    guard(std::ptr::null_mut(), || match step()? {
        Step::Yield(value) => Ok(value.into_ptr()),
        // StopIteration without a value needs no exception object.
        Step::Return(value) if value.is_none() => Ok(std::ptr::null_mut()),
        Step::Return(value) => stop_iteration(&value),
    })
}

/// `am_send`: the answer goes to `out`.
///
/// # Safety
/// `out` is a place to write to, as the interpreter passes it.
#[inline(always)]
pub unsafe fn am_send(out: *mut *mut PyObject, step: impl FnOnce() -> R<Step>) -> ffi::PySendResult {
    let mut answer = std::ptr::null_mut();
    let result = guard(ffi::PySendResult::PYGEN_ERROR, || match step()? {
        Step::Yield(value) => {
            answer = value.into_ptr();
            Ok(ffi::PySendResult::PYGEN_NEXT)
        }
        Step::Return(value) => {
            answer = value.into_ptr();
            Ok(ffi::PySendResult::PYGEN_RETURN)
        }
    });
    // SAFETY: the caller's promise.
    unsafe { *out = answer };
    result
}

/// The method `send`: in contrast to `next()` it raises StopIteration also without a value.
pub fn send(step: impl FnOnce() -> R<Step>) -> *mut PyObject {
    guard(std::ptr::null_mut(), || match step()? {
        Step::Yield(value) => Ok(value.into_ptr()),
        // SAFETY: StopIteration is alive.
        Step::Return(value) if value.is_none() => Err(raise_object(call(unsafe { ffi::PyExc_StopIteration }, &[])?)),
        Step::Return(value) => stop_iteration(&value),
    })
}

fn stop_iteration(value: &Obj) -> R<*mut PyObject> {
    // SAFETY: alive. A tuple or an exception would be unpacked or taken for the exception itself, so it is wrapped.
    unsafe {
        let stop = ffi::PyExc_StopIteration;
        if ffi::PyTuple_Check(value.as_ptr()) != 0 || ffi::PyExceptionInstance_Check(value.as_ptr()) != 0 {
            let exc = call(stop, &[value.as_ptr()])?;
            return Err(raise_object(exc));
        }
        ffi::PyErr_SetObject(stop, value.as_ptr());
        Err(Raised)
    }
}
