//! What `await future` iterates over: yields the future once, then returns its result.

use std::cell::UnsafeCell;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::args::Args;
use super::awaiting::{self, Step};
use super::future::{self, State};
use super::globals::globals;
use super::heap_type::{fast, no_args, one_arg, slot, Definition};
use super::obj::{call, raise_object, runtime_error, type_error};
use super::{Obj, Raised, Slot, R};
use crate::{fast_method, plain_method};

#[repr(C)]
struct Iter {
    base: PyObject,
    /// Ours; empty once the iterator is used up.
    future: Slot,
}

/// Freed iterators, kept for reuse: one is made for every await.
struct FreeList(UnsafeCell<Vec<*mut PyObject>>);
// SAFETY: touched only with the GIL held, and never across a call that could release it.
unsafe impl Sync for FreeList {}
static FREE: FreeList = FreeList(UnsafeCell::new(Vec::new()));
const KEEP: usize = 255;

fn iter<'a>(o: *mut PyObject) -> &'a Iter {
    // SAFETY: only called on instances.
    unsafe { &*o.cast::<Iter>() }
}

pub fn new(future: *mut PyObject) -> R<Obj> {
    let class = globals().iter_type;
    // SAFETY: under the GIL; a freed iterator has an empty slot and valid memory.
    unsafe {
        let o = match (*FREE.0.get()).pop() {
            Some(o) => {
                // Makes the object live again with one reference, and takes one to the type, as an allocation does.
                ffi::PyObject_Init(o, class);
                ffi::PyObject_GC_Track(o.cast());
                Obj::owned(o)?
            }
            None => Obj::owned(ffi::PyType_GenericAlloc(class, 0))?,
        };
        iter(o.as_ptr()).future.set(Obj::borrowed(future));
        Ok(o)
    }
}

#[inline(always)]
fn step(o: *mut PyObject) -> R<Step> {
    let it = iter(o);
    let future = it.future.get();
    if future.is_null() {
        return Ok(Step::Return(Obj::none()));
    }
    // SAFETY: the slot holds one of ours.
    let s = unsafe { future::state(future) };
    if s.state.get() == State::Pending {
        if s.blocking.replace(true) {
            s.blocking.set(true);
            return Err(runtime_error("await wasn't used with future"));
        }
        // SAFETY: alive.
        return Ok(Step::Yield(unsafe { Obj::borrowed(future) }));
    }
    let future = it.future.take();
    s.result().map(|value| {
        drop(future);
        Step::Return(value)
    })
}

unsafe extern "C" fn tp_iternext(o: *mut PyObject) -> *mut PyObject {
    awaiting::iternext(|| step(o))
}

unsafe extern "C" fn am_send(o: *mut PyObject, _: *mut PyObject, out: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: the interpreter passes a valid place.
    unsafe { awaiting::am_send(out, || step(o)) }
}

unsafe extern "C" fn m_send(o: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    awaiting::send(|| step(o))
}

/// The exception that `throw(type_or_exception, value=None, traceback=None)` means, with a generator's checks.
pub fn thrown(args: &Args) -> R<Obj> {
    let [kind, value, tb] = args.fit("throw", ["type", "val", "tb"], 3, 1)?;
    // SAFETY: null or alive.
    let given = |p: *mut PyObject| !p.is_null() && p != unsafe { ffi::Py_None() };
    // SAFETY: alive pointers from the interpreter.
    unsafe {
        if cfg!(Py_3_12) && args.positional > 1 {
            let text = c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.";
            if ffi::PyErr_WarnEx(ffi::PyExc_DeprecationWarning, text.as_ptr(), 1) != 0 {
                return Err(Raised);
            }
        }
        if given(tb) && ffi::PyTraceBack_Check(tb) == 0 {
            return Err(type_error("throw() third argument must be a traceback"));
        }
        let exc = if ffi::PyExceptionInstance_Check(kind) != 0 {
            if given(value) {
                return Err(type_error("instance exception may not have a separate value"));
            }
            Obj::borrowed(kind)
        } else if ffi::PyExceptionClass_Check(kind) != 0 {
            if given(value) && super::obj::is_instance(value, kind) && ffi::PyExceptionInstance_Check(value) != 0 {
                Obj::borrowed(value)
            } else if given(value) && ffi::PyTuple_Check(value) != 0 {
                Obj::owned(ffi::PyObject_Call(kind, value, std::ptr::null_mut()))?
            } else if given(value) {
                call(kind, &[value])?
            } else {
                call(kind, &[])?
            }
        } else {
            return Err(type_error(&format!(
                "exceptions must be classes deriving BaseException or instances of such a class, not {}",
                std::ffi::CStr::from_ptr((*ffi::Py_TYPE(kind)).tp_name).to_string_lossy()
            )));
        };
        if given(tb) {
            ffi::PyException_SetTraceback(exc.as_ptr(), tb);
        }
        Ok(exc)
    }
}

fn throw(o: *mut PyObject, args: Args) -> R<Obj> {
    let exc = thrown(&args)?;
    drop(iter(o).future.take());
    Err(raise_object(exc))
}

fn close(o: *mut PyObject) -> R<Obj> {
    drop(iter(o).future.take());
    Ok(Obj::none())
}

fast_method!(m_throw, throw);
plain_method!(m_close, close);

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector's visitor; a heap type's instances visit their type.
    unsafe {
        let r = visit(ffi::Py_TYPE(o).cast(), arg);
        if r != 0 {
            return r;
        }
        iter(o).future.visit(visit, arg)
    }
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    iter(o).future.clear();
    0
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: reference count zero; the memory goes to the free list or back to the allocator.
    unsafe {
        ffi::PyObject_GC_UnTrack(o.cast());
        iter(o).future.clear();
        let class = ffi::Py_TYPE(o);
        let free = &mut *FREE.0.get();
        if free.len() < KEEP {
            free.push(o);
        } else {
            ffi::PyObject_GC_Del(o.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

pub fn make_type() -> R<*mut PyTypeObject> {
    Definition {
        name: c"segue._core.FutureIter",
        size: std::mem::size_of::<Iter>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC,
        slots: vec![
            slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
            slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
            slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
            slot(ffi::Py_tp_iternext, tp_iternext as *mut c_void),
            slot(ffi::Py_am_send, am_send as *mut c_void),
        ],
        methods: vec![
            one_arg(c"send", m_send, c"Resume the await; the value is ignored."),
            fast(c"throw", m_throw, c"Raise an exception in the await."),
            no_args(c"close", m_close, c"Let go of the future."),
        ],
        attributes: Vec::new(),
    }
    .build(None)
}
