//! Owned references, nullable slots, and the calls into Python that everything else is made of.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::raw::{c_int, c_void};
use std::ptr::NonNull;

use pyo3::ffi::{self, PyObject};

/// Python's error indicator is set.
#[derive(Debug)]
pub struct Raised;

pub type R<T> = Result<T, Raised>;

impl From<Raised> for pyo3::PyErr {
    fn from(_: Raised) -> Self {
        // SAFETY: `Raised` exists only while attached, with the error indicator set.
        pyo3::PyErr::fetch(unsafe { pyo3::Python::assume_attached() })
    }
}

impl From<pyo3::PyErr> for Raised {
    fn from(e: pyo3::PyErr) -> Self {
        // SAFETY: errors are converted only on the way back to Python, attached.
        e.restore(unsafe { pyo3::Python::assume_attached() });
        Raised
    }
}

/// A strong reference. Cloned and dropped only while attached, as everything in this folder.
#[repr(transparent)]
#[derive(Debug)]
pub struct Obj(NonNull<PyObject>);

impl Obj {
    /// Takes over a reference that a C function returned; null means that it raised.
    ///
    /// # Safety
    /// `ptr` is null with the error indicator set, or an owned reference.
    #[inline(always)]
    pub unsafe fn owned(ptr: *mut PyObject) -> R<Obj> {
        NonNull::new(ptr).map(Obj).ok_or(Raised)
    }

    /// As `owned`, where null means that there is nothing.
    ///
    /// # Safety
    /// `ptr` is null or an owned reference.
    pub unsafe fn from_nullable(ptr: *mut PyObject) -> Option<Obj> {
        NonNull::new(ptr).map(Obj)
    }

    /// Makes a new reference to something that is alive.
    ///
    /// # Safety
    /// `ptr` is not null and points to a live object.
    #[inline(always)]
    pub unsafe fn borrowed(ptr: *mut PyObject) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            ffi::Py_INCREF(ptr);
            Obj(NonNull::new_unchecked(ptr))
        }
    }

    pub fn none() -> Obj {
        // SAFETY: None is always alive.
        unsafe { Obj::borrowed(ffi::Py_None()) }
    }

    pub fn bool(value: bool) -> Obj {
        // SAFETY: True and False are always alive.
        unsafe { Obj::borrowed(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    pub fn float(value: f64) -> R<Obj> {
        // SAFETY: a new reference or null with an error.
        unsafe { Obj::owned(ffi::PyFloat_FromDouble(value)) }
    }

    pub fn int(value: i64) -> R<Obj> {
        // SAFETY: as above.
        unsafe { Obj::owned(ffi::PyLong_FromLongLong(value)) }
    }

    pub fn str(value: &str) -> R<Obj> {
        // SAFETY: the pointer and length describe valid UTF-8.
        unsafe { Obj::owned(ffi::PyUnicode_FromStringAndSize(value.as_ptr().cast(), value.len() as isize)) }
    }

    /// An interned string, for what is looked up: the types' method cache keeps every string it was asked for, so that
    /// a new one each time would fill it and push out what others look up.
    pub fn name(value: &str) -> R<Obj> {
        let mut name = Obj::str(value)?.into_ptr();
        // SAFETY: a string that we own; interning gives another reference in its place.
        unsafe {
            ffi::PyUnicode_InternInPlace(&mut name);
            Obj::owned(name)
        }
    }

    /// A tuple of new references.
    pub fn tuple(items: &[*mut PyObject]) -> R<Obj> {
        // SAFETY: every item is alive while the caller holds it; SET_ITEM steals the new references.
        unsafe {
            let tuple = Obj::owned(ffi::PyTuple_New(items.len() as isize))?;
            for (i, &item) in items.iter().enumerate() {
                ffi::Py_INCREF(item);
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), i as isize, item);
            }
            Ok(tuple)
        }
    }

    #[inline(always)]
    pub fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    #[inline(always)]
    pub fn into_ptr(self) -> *mut PyObject {
        let ptr = self.0.as_ptr();
        std::mem::forget(self);
        ptr
    }

    pub fn is_none(&self) -> bool {
        // SAFETY: comparing addresses.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    pub fn bound<'py>(&self, py: pyo3::Python<'py>) -> pyo3::Bound<'py, pyo3::PyAny> {
        // SAFETY: the object is alive.
        unsafe { pyo3::Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }
}

impl Clone for Obj {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: `self` keeps the object alive.
        unsafe { Obj::borrowed(self.as_ptr()) }
    }
}

impl Drop for Obj {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: we own one reference.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

impl From<pyo3::Bound<'_, pyo3::PyAny>> for Obj {
    fn from(b: pyo3::Bound<'_, pyo3::PyAny>) -> Self {
        // SAFETY: an owned, non-null reference.
        unsafe { Obj(NonNull::new_unchecked(b.into_ptr())) }
    }
}

/// A nullable reference inside a hand-built object; all-zero memory is an empty slot.
/// The old value is dropped only after the new one is in place, since dropping may run Python.
#[repr(transparent)]
pub struct Slot(Cell<*mut PyObject>);

impl Default for Slot {
    fn default() -> Self {
        Slot(Cell::new(std::ptr::null_mut()))
    }
}

impl From<Option<Obj>> for Slot {
    fn from(value: Option<Obj>) -> Self {
        Slot(Cell::new(value.map_or(std::ptr::null_mut(), Obj::into_ptr)))
    }
}

impl Slot {
    pub const fn new() -> Slot {
        Slot(Cell::new(std::ptr::null_mut()))
    }

    /// Borrowed, or null.
    #[inline(always)]
    pub fn get(&self) -> *mut PyObject {
        self.0.get()
    }

    #[inline(always)]
    pub fn is_set(&self) -> bool {
        !self.0.get().is_null()
    }

    #[inline(always)]
    pub fn obj(&self) -> Option<Obj> {
        let ptr = self.0.get();
        // SAFETY: what is in a slot is alive.
        (!ptr.is_null()).then(|| unsafe { Obj::borrowed(ptr) })
    }

    /// The value as it is held here.
    pub fn borrowed(&self) -> Option<&Obj> {
        // SAFETY: a Slot is transparent over a pointer, and so is an Obj, which is never null; both own one reference.
        self.is_set().then(|| unsafe { &*std::ptr::from_ref(self).cast::<Obj>() })
    }

    /// The value, or None where there is none: for getters.
    pub fn obj_or_none(&self) -> Obj {
        self.obj().unwrap_or_else(Obj::none)
    }

    #[inline(always)]
    pub fn set(&self, value: Obj) {
        drop(self.replace(Some(value)));
    }

    #[inline(always)]
    pub fn replace(&self, value: Option<Obj>) -> Option<Obj> {
        let old = self.0.replace(value.map_or(std::ptr::null_mut(), Obj::into_ptr));
        NonNull::new(old).map(Obj)
    }

    /// Sets the slot to something that is alive (borrowed); does nothing if it is there already.
    ///
    /// # Safety
    /// `ptr` is not null and points to a live object.
    #[inline(always)]
    pub unsafe fn set_if_other(&self, ptr: *mut PyObject) {
        if self.0.get() != ptr {
            // SAFETY: the caller's promise.
            self.set(unsafe { Obj::borrowed(ptr) });
        }
    }

    #[inline(always)]
    pub fn take(&self) -> Option<Obj> {
        self.replace(None)
    }

    pub fn clear(&self) {
        drop(self.take());
    }

    /// For `tp_traverse`.
    ///
    /// # Safety
    /// `visit` and `arg` are the collector's.
    #[inline]
    pub unsafe fn visit(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: the collector's visitor takes any live object.
        unsafe { visit_ptr(self.0.get(), visit, arg) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
    }
}

/// # Safety
/// `visit` and `arg` are the collector's; `ptr` is null or alive.
pub unsafe fn visit_ptr(ptr: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    if ptr.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { visit(ptr, arg) }
}

/// Sets the error indicator.
#[cold]
pub fn raise(kind: *mut PyObject, message: &str) -> Raised {
    if let Ok(text) = Obj::str(message) {
        // SAFETY: `kind` is an exception class, which lives as long as the interpreter.
        unsafe { ffi::PyErr_SetObject(kind, text.as_ptr()) };
    }
    Raised
}

macro_rules! exception_kinds {
    ($($name:ident = $ffi:ident),* $(,)?) => {
        $(#[cold] pub fn $name(message: &str) -> Raised {
            // SAFETY: the interpreter's exception classes are always alive.
            raise(unsafe { ffi::$ffi }, message)
        })*
    };
}
// One function per built-in exception that we raise: a generic would need the static's address as a constant.
exception_kinds! {
    runtime_error = PyExc_RuntimeError,
    type_error = PyExc_TypeError,
    value_error = PyExc_ValueError,
    attribute_error = PyExc_AttributeError,
    system_error = PyExc_SystemError,
    not_implemented = PyExc_NotImplementedError,
}

/// Raises the `OSError` subclass for an I/O error, with its errno and text.
#[cold]
pub fn os_error(e: &std::io::Error) -> Raised {
    match os_error_object(e) {
        Ok(exc) => raise_object(exc),
        Err(raised) => raised,
    }
}

/// The exception object for an I/O error.
pub fn os_error_object(e: &std::io::Error) -> R<Obj> {
    let Some(code) = e.raw_os_error() else {
        // SAFETY: OSError is alive.
        let text = Obj::str(&e.to_string())?;
        // SAFETY: as above.
        return call(unsafe { ffi::PyExc_OSError }, &[text.as_ptr()]);
    };
    let code_obj = Obj::int(code.into())?;
    // SAFETY: strerror returns a valid C string; we are attached, so no other thread calls it through Python.
    let text = unsafe { CStr::from_ptr(libc::strerror(code)) }.to_string_lossy().into_owned();
    let text = Obj::str(&text)?;
    // SAFETY: OSError is alive.
    call(unsafe { ffi::PyExc_OSError }, &[code_obj.as_ptr(), text.as_ptr()])
}

/// Takes the raised exception, normalised and with its traceback, out of the error indicator.
pub fn take_raised() -> Option<Obj> {
    #[cfg(Py_3_12)]
    // SAFETY: returns an owned reference or null.
    unsafe {
        NonNull::new(ffi::PyErr_GetRaisedException()).map(Obj)
    }
    #[cfg(not(Py_3_12))]
    // SAFETY: the three pointers are owned or null after the fetch.
    unsafe {
        let (mut kind, mut value, mut tb) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut tb);
        if kind.is_null() {
            return None;
        }
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut tb);
        if !tb.is_null() {
            ffi::PyException_SetTraceback(value, tb);
            ffi::Py_DECREF(tb);
        }
        ffi::Py_DECREF(kind);
        NonNull::new(value).map(Obj)
    }
}

/// Raises an exception object with the traceback it carries.
pub fn raise_object(exc: Obj) -> Raised {
    #[cfg(Py_3_12)]
    // SAFETY: steals the reference to an exception instance.
    unsafe {
        ffi::PyErr_SetRaisedException(exc.into_ptr())
    }
    #[cfg(not(Py_3_12))]
    // SAFETY: Restore steals all three references.
    unsafe {
        let kind = Obj::borrowed(ffi::Py_TYPE(exc.as_ptr()).cast());
        let tb = ffi::PyException_GetTraceback(exc.as_ptr());
        ffi::PyErr_Restore(kind.into_ptr(), exc.into_ptr(), tb);
    }
    Raised
}

/// Whether `exc` is an instance of the class `kind`.
pub fn is_instance(exc: *mut PyObject, kind: *mut PyObject) -> bool {
    // SAFETY: both are alive. For exceptions this never runs Python code.
    unsafe { ffi::PyErr_GivenExceptionMatches(exc, kind) != 0 }
}

/// KeyboardInterrupt and SystemExit leave the loop; everything else is reported and the loop goes on.
pub fn is_interrupt(exc: *mut PyObject) -> bool {
    // SAFETY: the two classes are always alive.
    unsafe { is_instance(exc, ffi::PyExc_KeyboardInterrupt) || is_instance(exc, ffi::PyExc_SystemExit) }
}

/// What was raised is nobody's: for descriptions that are best effort. Ctrl-C, which any Python code may raise, comes again.
pub fn forget_raised() {
    let Some(exc) = take_raised() else { return };
    // SAFETY: the class is always alive; the simulated signal is handled when Python code next runs.
    unsafe {
        if is_instance(exc.as_ptr(), ffi::PyExc_KeyboardInterrupt) {
            ffi::PyErr_SetInterrupt();
        }
    }
}

/// Hands the raised exception to `sys.unraisablehook`: for places where Python has nobody else to tell.
pub fn write_unraisable(about: *mut PyObject) {
    // SAFETY: `about` is null or alive.
    unsafe { ffi::PyErr_WriteUnraisable(about) }
}

#[inline]
pub fn getattr(obj: *mut PyObject, name: *mut PyObject) -> R<Obj> {
    // SAFETY: both are alive.
    unsafe { Obj::owned(ffi::PyObject_GetAttr(obj, name)) }
}

/// The attribute, or None where it does not exist; other errors are raised.
pub fn getattr_opt(obj: *mut PyObject, name: *mut PyObject) -> R<Option<Obj>> {
    match getattr(obj, name) {
        Ok(value) => Ok(Some(value)),
        // SAFETY: AttributeError is alive.
        Err(Raised) if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) } != 0 => {
            // SAFETY: clearing the indicator is always allowed.
            unsafe { ffi::PyErr_Clear() };
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

pub fn setattr(obj: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> R<()> {
    // SAFETY: all three are alive.
    match unsafe { ffi::PyObject_SetAttr(obj, name, value) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

#[inline]
pub fn call(callable: *mut PyObject, args: &[*mut PyObject]) -> R<Obj> {
    // SAFETY: the slice's pointers are alive; without the offset flag the callee may not touch args[-1].
    unsafe { Obj::owned(ffi::PyObject_Vectorcall(callable, args.as_ptr(), args.len(), std::ptr::null_mut())) }
}

/// A call with keywords: the last `names.len()` of `args` are theirs; `names` is a tuple of strings.
pub fn call_kw(callable: *mut PyObject, args: &[*mut PyObject], names: *mut PyObject) -> R<Obj> {
    // SAFETY: as `call`; `names` is an exact tuple that is alive.
    unsafe {
        let keywords = ffi::PyTuple_GET_SIZE(names) as usize;
        Obj::owned(ffi::PyObject_Vectorcall(callable, args.as_ptr(), args.len() - keywords, names))
    }
}

/// `args[0]` is the object itself.
#[inline]
pub fn call_method(name: *mut PyObject, args: &[*mut PyObject]) -> R<Obj> {
    // SAFETY: as `call`.
    unsafe { Obj::owned(ffi::PyObject_VectorcallMethod(name, args.as_ptr(), args.len(), std::ptr::null_mut())) }
}

pub fn call_method_kw(name: *mut PyObject, args: &[*mut PyObject], names: *mut PyObject) -> R<Obj> {
    // SAFETY: as `call_kw`.
    unsafe {
        let keywords = ffi::PyTuple_GET_SIZE(names) as usize;
        Obj::owned(ffi::PyObject_VectorcallMethod(name, args.as_ptr(), args.len() - keywords, names))
    }
}

extern "C" {
    // Part of CPython's API; pyo3 doesn't declare them.
    static mut PyMethod_Type: ffi::PyTypeObject;
    fn PyMethod_Function(method: *mut PyObject) -> *mut PyObject;
    fn PyMethod_Self(method: *mut PyObject) -> *mut PyObject;
}

/// The function inside of a bound method, borrowed; None for what is no method.
#[inline(always)]
pub fn function_of_method(o: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: alive; the accessor comes after the type check.
    unsafe { (ffi::Py_TYPE(o) == &raw mut PyMethod_Type).then(|| PyMethod_Function(o)) }
}

/// What the interpreter itself looks a method up with before it calls it: no method object is made. It isn't part of the API,
/// but has had this signature from 3.7 to 3.13; what came later isn't asked for.
type GetMethod = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut *mut PyObject) -> c_int;

#[derive(Clone, Copy)]
pub struct MethodLookup(Option<GetMethod>);

impl MethodLookup {
    pub fn find() -> MethodLookup {
        if cfg!(Py_3_14) {
            return MethodLookup(None);
        }
        // SAFETY: looks a symbol up in what is loaded; where it is there it has the signature above.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"_PyObject_GetMethod".as_ptr());
            MethodLookup(std::mem::transmute::<*mut c_void, Option<GetMethod>>(found))
        }
    }

    /// Whether calling the method `name` of `owner` runs `function` with it.
    #[inline]
    pub fn calls(self, owner: *mut PyObject, name: *mut PyObject, function: *mut PyObject) -> R<bool> {
        let Some(get_method) = self.0 else {
            let method = getattr(owner, name)?;
            let m = method.as_ptr();
            // SAFETY: alive; the accessors come after the type check.
            return unsafe {
                Ok(ffi::Py_TYPE(m) == &raw mut PyMethod_Type
                    && PyMethod_Function(m) == function
                    && PyMethod_Self(m) == owner)
            };
        };
        let mut found = std::ptr::null_mut();
        // SAFETY: alive; what is found is a new reference, or null with an error. One says that it is a function of the
        // class, to be called with the object in front.
        unsafe {
            let of_class = get_method(owner, name, &mut found) == 1;
            Ok(Obj::owned(found)?.as_ptr() == function && of_class)
        }
    }
}

pub fn is_true(obj: *mut PyObject) -> R<bool> {
    // SAFETY: alive.
    match unsafe { ffi::PyObject_IsTrue(obj) } {
        -1 => Err(Raised),
        n => Ok(n != 0),
    }
}

/// Runs the body of a slot or method, turning a panic into a Python error instead of an abort.
#[inline(always)]
pub fn guard<T>(failed: T, body: impl FnOnce() -> R<T>) -> T {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(Raised)) => failed,
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            let _ = system_error(&format!("Segue has a bug; please report it: {}", text.unwrap_or_default()));
            failed
        }
    }
}
