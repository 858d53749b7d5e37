//! Copies of the current context for callbacks, as `contextvars.copy_context()` makes them: a copy that served a callback and
//! that nobody else has seen serves again, if it still has the variables that a new one would have.
//!
//! Whether it has is asked by comparing two pointers, since a context's variables are an immutable map that copies share.
//! Where they are is not part of Python's API: [`find_layout`] finds out and tries it when the module is imported. If it finds
//! anything else than it knows, every copy is a new one. Nothing is ever written there.

use std::cell::{Cell, UnsafeCell};

use pyo3::ffi::{self, PyObject};

use super::globals::globals;
use super::heap_type::is_weakly_referenced;
use super::obj::{Obj, Slot, R};

/// Where a thread state has its current context, and a context its variables: in bytes from the beginning.
#[derive(Clone, Copy)]
pub struct Layout {
    current: usize,
    vars: usize,
}

/// How far into a thread state we look: all interpreters that there are have it before, in a structure that is longer.
const SEARCHED: usize = 320;

/// A word of a structure.
///
/// # Safety
/// The structure is alive and reaches at least a word beyond `offset`.
unsafe fn word<T>(start: *const T, offset: usize) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { *start.cast::<u8>().add(offset).cast::<*mut PyObject>() }
}

/// Called once, when the module is imported.
pub fn find_layout() -> R<Option<Layout>> {
    let vars = std::mem::size_of::<PyObject>() + std::mem::size_of::<*mut PyObject>();
    // SAFETY: contexts of our own; each is entered and left again; only memory within living structures is read.
    unsafe {
        let (first, second) = (Obj::owned(ffi::PyContext_New())?, Obj::owned(ffi::PyContext_New())?);
        let copy = Obj::owned(ffi::PyContext_Copy(first.as_ptr()))?;
        if ((*ffi::Py_TYPE(copy.as_ptr())).tp_basicsize as usize) < vars + std::mem::size_of::<*mut PyObject>() {
            return Ok(None);
        }
        let map = word(copy.as_ptr(), vars);
        if map.is_null() || map != word(first.as_ptr(), vars) {
            return Ok(None);
        }
        if std::ffi::CStr::from_ptr((*ffi::Py_TYPE(map)).tp_name) != c"hamt" {
            return Ok(None);
        }
        let state = ffi::PyThreadState_Get();
        let found = while_in(&first, || {
            (0..SEARCHED).step_by(std::mem::size_of::<usize>()).find(|&at| word(state, at) == first.as_ptr())
        })?;
        let Some(current) = found else { return Ok(None) };
        let variable = Obj::owned(ffi::PyContextVar_New(c"segue".as_ptr(), std::ptr::null_mut()))?;
        let none = Obj::none();
        let is_it = while_in(&second, || {
            let token = Obj::owned(ffi::PyContextVar_Set(variable.as_ptr(), none.as_ptr()));
            token.map(|_| word(state, current) == second.as_ptr())
        })??;
        // Setting a variable puts another map in the place of the shared one.
        let is_it = is_it && word(second.as_ptr(), vars) != word(first.as_ptr(), vars);
        Ok((is_it && word(state, current) != second.as_ptr()).then_some(Layout { current, vars }))
    }
}

fn while_in<T>(context: &Obj, look: impl FnOnce() -> T) -> R<T> {
    // SAFETY: a context that nobody is in.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(super::Raised);
    }
    let seen = look();
    super::task_step::leave_context(context, Ok(())).map(|()| seen)
}

/// A loop's contexts that wait for their next callback. The loop shows them to the garbage collector. It lets go of them
/// whenever it waits or stops, and while it is busy of those that have not served during 4,096 jobs, so that what their
/// variables refer to lives hardly longer than asyncio would have it.
#[derive(Default)]
pub struct Pool {
    kept: UnsafeCell<Vec<Obj>>,
    /// How few were in it at the least since [`Pool::drop_unused`]: the first so many have not served.
    unused: Cell<usize>,
    /// A copy of the context in which tasks were last started; see [`Pool::snapshot`].
    snapshot: Slot,
}

const KEEP: usize = 1024;

impl Pool {
    /// Lends the list to `f`, which must not call Python.
    #[inline(always)]
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Obj>) -> T) -> T {
        // SAFETY: under the GIL, and `f` doesn't come here again.
        f(unsafe { &mut *self.kept.get() })
    }

    /// What `contextvars.copy_context()` returns.
    #[inline]
    pub fn copy_current(&self) -> R<Obj> {
        if let (Some(kept), Some(layout)) = (self.take(), globals().context_layout) {
            // SAFETY: the layout was tried; a thread state and a context that are alive.
            unsafe {
                let current = word(ffi::PyThreadState_Get(), layout.current);
                // Somebody may have found it through the collector meanwhile.
                let ours = ffi::Py_REFCNT(kept.as_ptr()) == 1;
                if ours && !current.is_null() && word(current, layout.vars) == word(kept.as_ptr(), layout.vars) {
                    return Ok(kept);
                }
            }
            // Those below are of the same time.
            self.clear();
        }
        // SAFETY: a new reference or null with an error.
        unsafe { Obj::owned(ffi::PyContext_CopyCurrent()) }
    }

    /// A context with the variables that the current one has now, for [`copy_of_snapshot`]. Nobody enters it: tasks that are started
    /// one after the other share it.
    #[inline]
    pub fn snapshot(&self) -> R<Obj> {
        if let (Some(snapshot), Some(layout)) = (self.snapshot.obj(), globals().context_layout) {
            // SAFETY: the layout was tried; a thread state and a context that are alive.
            unsafe {
                let current = word(ffi::PyThreadState_Get(), layout.current);
                if !current.is_null() && word(current, layout.vars) == word(snapshot.as_ptr(), layout.vars) {
                    return Ok(snapshot);
                }
            }
        }
        // SAFETY: a new reference or null with an error.
        let snapshot = unsafe { Obj::owned(ffi::PyContext_CopyCurrent()) }?;
        if globals().context_layout.is_some() {
            self.snapshot.set(snapshot.clone());
        }
        Ok(snapshot)
    }

    /// As [`Pool::copy_current`] where none was given.
    #[inline]
    pub fn given_or_copy(&self, context: *mut PyObject) -> R<Obj> {
        // SAFETY: null or alive.
        unsafe {
            if context.is_null() || context == ffi::Py_None() {
                self.copy_current()
            } else {
                Ok(Obj::borrowed(context))
            }
        }
    }

    /// Takes back a context whose callback has run. Kept only if nobody else refers to it.
    #[inline]
    pub fn give_back(&self, context: Obj) {
        // SAFETY: alive.
        let ours = unsafe { ffi::PyContext_CheckExact(context.as_ptr()) != 0 && ffi::Py_REFCNT(context.as_ptr()) == 1 };
        if !ours || globals().context_layout.is_none() || is_weakly_referenced(context.as_ptr()) {
            return;
        }
        let refused = self.with(|kept| match kept.len() < KEEP {
            true => {
                kept.push(context);
                None
            }
            false => Some(context),
        });
        drop(refused);
    }

    #[inline(always)]
    fn take(&self) -> Option<Obj> {
        self.with(|kept| {
            let last = kept.pop();
            self.unused.set(self.unused.get().min(kept.len()));
            last
        })
    }

    /// Lets go of those that have not served since this was last called.
    pub fn drop_unused(&self) {
        self.snapshot.clear();
        let unused: Vec<Obj> = self.with(|kept| {
            let unused = self.unused.get().min(kept.len());
            let gone = kept.drain(..unused).collect();
            self.unused.set(kept.len());
            gone
        });
        drop(unused);
    }

    #[inline]
    pub fn clear(&self) {
        self.snapshot.clear();
        // Dropped after the list is empty: what their variables held may run Python.
        let all = self.with(|kept| if kept.is_empty() { Vec::new() } else { std::mem::take(kept) });
        drop(all);
    }

    pub fn try_for_each<E>(&self, f: &mut impl FnMut(&Obj) -> Result<(), E>) -> Result<(), E> {
        self.snapshot.borrowed().map_or(Ok(()), &mut *f)?;
        // SAFETY: the collector's visitor calls no Python.
        unsafe { &*self.kept.get() }.iter().try_for_each(f)
    }
}

/// A context of one's own out of a [`Pool::snapshot`].
pub fn copy_of_snapshot(snapshot: &Obj) -> R<Obj> {
    // SAFETY: alive; a new reference or null with an error.
    unsafe {
        // Nobody else has it.
        if ffi::Py_REFCNT(snapshot.as_ptr()) == 1 {
            return Ok(snapshot.clone());
        }
        Obj::owned(ffi::PyContext_Copy(snapshot.as_ptr()))
    }
}
