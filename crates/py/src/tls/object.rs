//! The memory of the two TLS types: an asyncio base class with `__slots__`, a list of weak references, an instance dict,
//! then the Rust state.

use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use crate::raw::heap_type::{round_up, slot};
use crate::raw::obj::guard;
use crate::raw::{handle, Obj, Slot, R};

/// Where things are inside an instance. Fixed before the first one exists.
pub struct Layout {
    /// The base's own slots.
    base_slots: Vec<usize>,
    dict: usize,
    state: usize,
    class: *mut PyTypeObject,
}

impl Layout {
    /// Before the type exists.
    pub const EMPTY: Layout = Layout { base_slots: Vec::new(), dict: 0, state: 0, class: std::ptr::null_mut() };
}

/// A Rust state that lives in a Python object.
pub trait State: Default + 'static {
    /// Only for this module: the type's place for its layout.
    fn layout() -> *mut Layout;

    /// # Safety
    /// The collector's visitor.
    unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int;

    fn clear(&self);
}

fn layout<S: State>() -> &'static Layout {
    // SAFETY: written under the import lock before any instance exists, only read afterwards.
    unsafe { &*S::layout() }
}

/// The state in an instance; `o` is one, alive while the reference is used.
#[inline(always)]
pub fn state<'a, S: State>(o: *mut PyObject) -> &'a S {
    // SAFETY: only called on instances; `tp_new` has written the state.
    unsafe { &*o.cast::<u8>().add(layout::<S>().state).cast::<S>() }
}

/// The type object; null before the module's init.
#[inline(always)]
pub fn class<S: State>() -> *mut PyTypeObject {
    layout::<S>().class
}

#[inline(always)]
pub fn is_instance<S: State>(o: *mut PyObject) -> bool {
    // SAFETY: both alive.
    unsafe { ffi::Py_TYPE(o) == class::<S>() || ffi::PyType_IsSubtype(ffi::Py_TYPE(o), class::<S>()) != 0 }
}

/// How large an instance is.
pub fn size<S: State>() -> usize {
    layout::<S>().state + size_of::<S>()
}

/// Decides the layout behind `base`; the result are the type's slots that follow from it.
pub fn lay_out<S: State>(base: *mut PyTypeObject, base_slots: &[&str]) -> R<Vec<ffi::PyType_Slot>> {
    // SAFETY: a live type.
    let weak = round_up(unsafe { (*base).tp_basicsize } as usize);
    let dict = weak + size_of::<*mut PyObject>();
    let mut offsets = Vec::new();
    for name in base_slots {
        offsets.push(handle::slot_offset(base, Obj::str(name)?.as_ptr())?);
    }
    let state = (dict + size_of::<*mut PyObject>()).div_ceil(align_of::<S>()) * align_of::<S>();
    // SAFETY: under the import lock, before the first instance exists.
    unsafe { *S::layout() = Layout { base_slots: offsets, dict, state, class: std::ptr::null_mut() } };
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as isize,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let members = Box::leak(Box::new([
        member(c"__weaklistoffset__", weak),
        member(c"__dictoffset__", dict),
        ffi::PyMemberDef::default(),
    ]));
    Ok(vec![
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_new, tp_new::<S> as *mut c_void),
        slot(ffi::Py_tp_dealloc, tp_dealloc::<S> as *mut c_void),
        slot(ffi::Py_tp_traverse, tp_traverse::<S> as *mut c_void),
        slot(ffi::Py_tp_clear, tp_clear::<S> as *mut c_void),
    ])
}

/// The last step of making the type.
pub fn set_class<S: State>(class: *mut PyTypeObject) {
    // SAFETY: under the import lock, before the first instance exists.
    unsafe { (*S::layout()).class = class };
}

/// A new instance whose state is empty but valid.
pub fn alloc<S: State>(class: *mut PyTypeObject) -> R<Obj> {
    // SAFETY: fresh zeroed memory of the type's size; the state is written before anybody sees the object.
    unsafe {
        let o = Obj::owned(ffi::PyType_GenericAlloc(class, 0))?;
        std::ptr::write(o.as_ptr().cast::<u8>().add(layout::<S>().state).cast::<S>(), S::default());
        Ok(o)
    }
}

unsafe extern "C" fn tp_new<S: State>(class: *mut PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || alloc::<S>(class).map(Obj::into_ptr))
}

fn nullable<'a>(o: *mut PyObject, offset: usize) -> &'a Slot {
    // SAFETY: `__slots__` members and the dict are nullable object pointers, which is what a Slot is.
    unsafe { &*o.cast::<u8>().add(offset).cast::<Slot>() }
}

/// The references outside the Rust state.
fn outer<'a, S: State>(o: *mut PyObject) -> impl Iterator<Item = &'a Slot> {
    let l = layout::<S>();
    l.base_slots.iter().chain([&l.dict]).map(move |&offset| nullable(o, offset))
}

unsafe extern "C" fn tp_traverse<S: State>(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector's visitor; a heap type's instances visit their type.
    unsafe {
        let mut r = visit(ffi::Py_TYPE(o).cast(), arg);
        for slot in outer::<S>(o) {
            if r == 0 {
                r = slot.visit(visit, arg);
            }
        }
        if r == 0 {
            r = state::<S>(o).traverse(visit, arg);
        }
        r
    }
}

unsafe extern "C" fn tp_clear<S: State>(o: *mut PyObject) -> c_int {
    outer::<S>(o).for_each(Slot::clear);
    state::<S>(o).clear();
    0
}

unsafe extern "C" fn tp_dealloc<S: State>(o: *mut PyObject) {
    // SAFETY: the C API's documented sequence; the state is dropped exactly once, here.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(o) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(o.cast());
        ffi::PyObject_ClearWeakRefs(o);
        outer::<S>(o).for_each(Slot::clear);
        std::ptr::drop_in_place(o.cast::<u8>().add(layout::<S>().state).cast::<S>());
        let class = ffi::Py_TYPE(o);
        ffi::PyObject_GC_Del(o.cast());
        ffi::Py_DECREF(class.cast());
    }
}
