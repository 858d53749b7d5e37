//! Building a heap type from its methods, attributes and slots with `PyType_FromSpec`.

use std::ffi::CStr;
use std::os::raw::{c_int, c_uint, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::obj::{Obj, R};

/// A method that takes anything: see [`super::args::Args`].
pub type Fast = unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, isize, *mut PyObject) -> *mut PyObject;
pub type NoArgs = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;

pub fn fast(name: &'static CStr, f: Fast, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: f },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

pub fn no_args(name: &'static CStr, f: NoArgs, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: f },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

pub fn one_arg(name: &'static CStr, f: NoArgs, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_flags: ffi::METH_O, ..no_args(name, f, doc) }
}

pub fn class_method(def: ffi::PyMethodDef) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_flags: def.ml_flags | ffi::METH_CLASS, ..def }
}

pub fn attribute(name: &'static CStr, get: ffi::getter, set: Option<ffi::setter>) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set, doc: std::ptr::null(), closure: std::ptr::null_mut() }
}

pub fn slot(id: c_int, f: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: id, pfunc: f }
}

/// A type definition; method tables live as long as the process, as the interpreter requires.
pub struct Definition {
    pub name: &'static CStr,
    pub size: usize,
    pub flags: u64,
    pub slots: Vec<ffi::PyType_Slot>,
    pub methods: Vec<ffi::PyMethodDef>,
    pub attributes: Vec<ffi::PyGetSetDef>,
}

impl Definition {
    pub fn build(self, base: Option<*mut PyTypeObject>) -> R<*mut PyTypeObject> {
        self.build_on(base.as_slice())
    }

    /// The same with any number of bases.
    pub fn build_on(mut self, bases: &[*mut PyTypeObject]) -> R<*mut PyTypeObject> {
        // SAFETY: an all-zero method definition ends a table.
        self.methods.push(unsafe { std::mem::zeroed() });
        self.attributes.push(ffi::PyGetSetDef::default());
        let methods = Box::leak(self.methods.into_boxed_slice());
        let attributes = Box::leak(self.attributes.into_boxed_slice());
        self.slots.push(slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()));
        self.slots.push(slot(ffi::Py_tp_getset, attributes.as_mut_ptr().cast()));
        self.slots.push(slot(0, std::ptr::null_mut()));
        let mut spec = ffi::PyType_Spec {
            name: self.name.as_ptr(),
            basicsize: self.size as c_int,
            itemsize: 0,
            flags: self.flags as c_uint,
            slots: self.slots.as_mut_ptr(),
        };
        // SAFETY: the spec is complete and copied by the interpreter; the tables are leaked above.
        unsafe {
            let bases: Vec<*mut PyObject> = bases.iter().map(|base| base.cast()).collect();
            let bases = if bases.is_empty() { None } else { Some(Obj::tuple(&bases)?) };
            let bases = bases.as_ref().map_or(std::ptr::null_mut(), Obj::as_ptr);
            Ok(Obj::owned(ffi::PyType_FromSpecWithBases(&mut spec, bases))?.into_ptr().cast())
        }
    }
}

/// Whether anybody holds a weak reference to `o`, which is alive and weakly referenceable.
pub fn is_weakly_referenced(o: *mut PyObject) -> bool {
    // SAFETY: the type says where its instances keep their weak references: in the object, or before it from 3.12 on.
    unsafe {
        let offset = (*ffi::Py_TYPE(o)).tp_weaklistoffset;
        offset != 0 && !(*o.cast::<u8>().offset(offset).cast::<*mut PyObject>()).is_null()
    }
}

pub fn round_up(n: usize) -> usize {
    n.div_ceil(8) * 8
}

/// Puts a raw method on a class that pyo3 made: pyo3's own methods cost more per call where `*args` are taken.
pub fn add_method(class: *mut PyTypeObject, def: ffi::PyMethodDef) -> R<()> {
    add_method_for(class, class, def)
}

/// The same for a method that accepts instances of `accepts`, a base of `class`.
pub fn add_method_for(class: *mut PyTypeObject, accepts: *mut PyTypeObject, def: ffi::PyMethodDef) -> R<()> {
    let name = def.ml_name;
    let def = Box::leak(Box::new(def));
    // SAFETY: `def` lives forever; `class` is a mutable heap type.
    unsafe {
        let descr = Obj::owned(ffi::PyDescr_NewMethod(accepts, def))?;
        match ffi::PyObject_SetAttrString(class.cast(), name, descr.as_ptr()) {
            0 => Ok(()),
            _ => Err(super::Raised),
        }
    }
}

/// Wraps a Rust function `fn(*mut PyObject, Args) -> R<Obj>` as a [`Fast`] method.
/// A macro since an `extern "C"` function cannot be generic over a function value.
#[macro_export]
macro_rules! fast_method {
    ($wrapper:ident, $inner:expr) => {
        unsafe extern "C" fn $wrapper(
            slf: *mut pyo3::ffi::PyObject,
            items: *const *mut pyo3::ffi::PyObject,
            n: isize,
            names: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            let args = $crate::raw::args::Args { items, positional: n as usize, names };
            let inner: fn(*mut pyo3::ffi::PyObject, $crate::raw::args::Args) -> $crate::raw::R<$crate::raw::Obj> =
                $inner;
            $crate::raw::obj::guard(std::ptr::null_mut(), || inner(slf, args).map($crate::raw::Obj::into_ptr))
        }
    };
}

/// The same for methods without arguments, `fn(*mut PyObject) -> R<Obj>`, and for getters (the second pointer differs).
#[macro_export]
macro_rules! plain_method {
    ($wrapper:ident, $inner:expr) => {
        unsafe extern "C" fn $wrapper(
            slf: *mut pyo3::ffi::PyObject,
            _: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            let inner: fn(*mut pyo3::ffi::PyObject) -> $crate::raw::R<$crate::raw::Obj> = $inner;
            $crate::raw::obj::guard(std::ptr::null_mut(), || inner(slf).map($crate::raw::Obj::into_ptr))
        }
    };
}

#[macro_export]
macro_rules! getter {
    ($wrapper:ident, $inner:expr) => {
        unsafe extern "C" fn $wrapper(
            slf: *mut pyo3::ffi::PyObject,
            _: *mut std::os::raw::c_void,
        ) -> *mut pyo3::ffi::PyObject {
            let inner: fn(*mut pyo3::ffi::PyObject) -> $crate::raw::R<$crate::raw::Obj> = $inner;
            $crate::raw::obj::guard(std::ptr::null_mut(), || inner(slf).map($crate::raw::Obj::into_ptr))
        }
    };
}

/// `fn(*mut PyObject, value: *mut PyObject) -> R<()>`; deleting (a null value) is the inner function's to refuse.
#[macro_export]
macro_rules! setter {
    ($wrapper:ident, $inner:expr) => {
        unsafe extern "C" fn $wrapper(
            slf: *mut pyo3::ffi::PyObject,
            value: *mut pyo3::ffi::PyObject,
            _: *mut std::os::raw::c_void,
        ) -> std::os::raw::c_int {
            let inner: fn(*mut pyo3::ffi::PyObject, *mut pyo3::ffi::PyObject) -> $crate::raw::R<()> = $inner;
            $crate::raw::obj::guard(-1, || inner(slf, value).map(|()| 0))
        }
    };
}
