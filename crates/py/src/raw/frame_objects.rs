//! Where the running code is, and where a suspended coroutine waits, asked in the API's way: through frame objects and attributes.
//!
//! Right on every interpreter and for coroutines that aren't the interpreter's (Cython's), and slow: `frames.rs` is the same for the
//! others, where it can be. Attributes are asked only if they are written in C, so no Python code runs here.

use std::ffi::CStr;
use std::os::raw::c_void;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::frames::{bytecode, first_shown, Instruction, Wrappers};
use super::globals::globals;
use super::obj::write_unraisable;
use super::Obj;

/// Longer chains of awaits are cut: who answers with himself would never end.
const LONGEST: usize = 100_000;

/// Where a frame is, and its code, which is alive as long as somebody has it.
fn instruction(frame: &Obj) -> Option<(Instruction, Obj)> {
    let frame: *mut ffi::PyFrameObject = frame.as_ptr().cast();
    // SAFETY: a live frame object; its code is a new reference.
    let (code, offset) =
        unsafe { (Obj::from_nullable(ffi::PyFrame_GetCode(frame).cast())?, ffi::PyFrame_GetLasti(frame)) };
    let at = bytecode(code.as_ptr()).wrapping_add_signed(offset as isize);
    Some((Instruction { code: code.as_ptr(), at }, code))
}

/// The running frames of the thread, the innermost first.
pub fn running() -> impl Iterator<Item = (Instruction, Obj)> {
    objects().filter_map(|frame| instruction(&frame))
}

/// Their frame objects.
pub fn objects() -> impl Iterator<Item = Obj> {
    // SAFETY: attached; a new reference or null.
    let first = unsafe { Obj::from_nullable(ffi::PyThreadState_GetFrame(ffi::PyThreadState_Get()).cast()) };
    // SAFETY: a live frame object; a new reference or null.
    std::iter::successors(first, |at| unsafe { Obj::from_nullable(ffi::PyFrame_GetBack(at.as_ptr().cast()).cast()) })
}

/// The frames of a coroutine and of what it awaits, the outermost first.
pub fn suspended(coroutine: Obj, wrappers: &Wrappers) -> impl Iterator<Item = (Instruction, Obj)> + '_ {
    let mut at = Some(coroutine);
    let chain = std::iter::from_fn(move || {
        let o = at.take()?;
        let Some((frame, awaited)) = attributes(o.as_ptr()) else {
            let inside = wrappers.inside(o.as_ptr()).or_else(|| inside_cythons_wrapper(o.as_ptr()));
            // SAFETY: alive: what is wrapped, by its wrapper.
            at = inside.map(|inside| unsafe { Obj::borrowed(inside) });
            return Some(None);
        };
        at = value(awaited, &o);
        // SAFETY: alive.
        let frame = value(frame, &o).filter(|frame| unsafe { ffi::PyFrame_Check(frame.as_ptr()) } != 0);
        Some(frame.and_then(|frame| instruction(&frame)))
    });
    chain.take(LONGEST).flatten()
}

/// Whether it has a frame to show, or awaits what may have one.
pub fn is_like_a_coroutine(o: *mut PyObject) -> bool {
    attributes(o).is_some() || inside_cythons_wrapper(o).is_some()
}

/// What Cython's `coroutine.__await__()` holds and doesn't show. Each version of Cython has such a type of its own.
fn inside_cythons_wrapper(o: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: alive; a type has a name as long as it lives. Nothing else that is written in C has such a name.
    unsafe {
        let name = CStr::from_ptr((*ffi::Py_TYPE(o)).tp_name).to_bytes();
        let is_it = name.starts_with(b"_cython_") && name.ends_with(b"coroutine_wrapper");
        is_it.then(|| first_shown(o))?
    }
}

/// What tells the frame and what is awaited: two descriptors of the object's type, borrowed from it.
fn attributes(o: *mut PyObject) -> Option<(*mut PyObject, *mut PyObject)> {
    // SAFETY: alive.
    let class = unsafe { ffi::Py_TYPE(o) };
    globals().await_names.iter().find_map(|names| Some((in_c(class, names.frame)?, in_c(class, names.awaited)?)))
}

/// Private, but with this signature in every version, and what C extensions use: borrowed or null, never raises.
type Lookup = unsafe extern "C" fn(*mut PyTypeObject, *mut PyObject) -> *mut PyObject;

/// A type's attribute, if it is one that is written in C.
fn in_c(class: *mut PyTypeObject, name: *mut PyObject) -> Option<*mut PyObject> {
    static LOOKUP: OnceLock<Option<Lookup>> = OnceLock::new();
    let lookup = (*LOOKUP.get_or_init(|| {
        // SAFETY: looks a symbol up in what is loaded; where it is there it has the signature above.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"_PyType_Lookup".as_ptr());
            std::mem::transmute::<*mut c_void, Option<Lookup>>(found)
        }
    }))?;
    // SAFETY: a live type and a string.
    unsafe {
        let found = lookup(class, name);
        if found.is_null() {
            return None;
        }
        let kind = ffi::Py_TYPE(found);
        (kind == &raw mut ffi::PyGetSetDescr_Type || kind == &raw mut ffi::PyMemberDescr_Type).then_some(found)
    }
}

/// What a descriptor says of an object; None for Python's None, and for what isn't set.
fn value(descriptor: *mut PyObject, o: &Obj) -> Option<Obj> {
    // SAFETY: alive; both kinds of descriptors have this slot. A new reference, or null with an error.
    unsafe {
        let class = ffi::Py_TYPE(o.as_ptr());
        let get = (*ffi::Py_TYPE(descriptor)).tp_descr_get?;
        match Obj::owned(get(descriptor, o.as_ptr(), class.cast())) {
            Ok(value) => Some(value).filter(|value| !value.is_none()),
            Err(_) if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) != 0 => {
                ffi::PyErr_Clear();
                None
            }
            Err(_) => {
                write_unraisable(o.as_ptr());
                None
            }
        }
    }
}
