//! Where a task is suspended: one number for the code and the instruction of every frame in its await chain.
//!
//! Looked at for tasks in a cancelled scope: in the interpreter's frames, and what has none of them by Python's own attributes.

use pyo3::ffi::{self, PyObject};

use crate::raw::globals::{attr, globals, import, AwaitNames};
use crate::raw::obj::{call, getattr, getattr_opt};
use crate::raw::{frame_layout, Obj, Raised, R};
use crate::structured::wait;

/// Deeper chains are told apart by their outer frames only.
const DEPTH: usize = 200;

/// The await site of a suspended coroutine. What tells nothing about itself (a coroutine in C) is one site.
pub fn of(coroutine: Option<Obj>) -> R<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut at = coroutine;
    if let (Some(coroutine), Some(layout)) = (&at, frame_layout::found().and_then(|ways| ways.layout.as_ref())) {
        // SAFETY: alive; nothing else runs here.
        let mut frames = unsafe { layout.suspended(coroutine.as_ptr()) };
        for instruction in frames.by_ref().take(DEPTH) {
            hash = mixed(hash, instruction.at as u64);
        }
        let rest = frames.rest();
        // SAFETY: null, or alive as the coroutine keeps what it awaits.
        at = (!rest.is_null()).then(|| unsafe { Obj::borrowed(rest) });
    }
    for _ in 0..DEPTH {
        let Some(owner) = at else { break };
        if let Some(site) = leaf(owner.as_ptr()) {
            hash = mixed(hash, site);
            break;
        }
        let Some(names) = names(owner.as_ptr())? else {
            at = inside_wrapper(&owner)?;
            continue;
        };
        let frame = present(getattr(owner.as_ptr(), names.frame)?);
        let instruction = match frame {
            Some(frame) => integer(getattr(frame.as_ptr(), globals().names.f_lasti)?)?,
            None => -1,
        };
        let code = present(getattr(owner.as_ptr(), names.code)?).map_or(0, |c| c.as_ptr() as u64);
        hash = mixed(mixed(hash, code), instruction as u64);
        at = present(getattr(owner.as_ptr(), names.awaited)?);
    }
    Ok(hash)
}

fn mixed(hash: u64, part: u64) -> u64 {
    (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3)
}

/// What ends every chain, since it waits for nothing that has frames: which kind of wait it is.
fn leaf(o: *mut PyObject) -> Option<u64> {
    // SAFETY: alive; the state is looked at after the check.
    unsafe {
        if wait::is_wait(o) {
            return Some(wait::state(o).site());
        }
        (ffi::Py_TYPE(o) == globals().iter_type).then_some(0)
    }
}

/// The attributes' names of a coroutine, generator or asynchronous generator, or of what looks like one.
fn names(o: *mut PyObject) -> R<Option<&'static AwaitNames>> {
    let [coroutine, generator, async_generator] = &globals().await_names;
    // SAFETY: alive.
    unsafe {
        if ffi::PyCoro_CheckExact(o) != 0 {
            return Ok(Some(coroutine));
        }
        if ffi::PyGen_CheckExact(o) != 0 {
            return Ok(Some(generator));
        }
        if ffi::PyAsyncGen_CheckExact(o) != 0 {
            return Ok(Some(async_generator));
        }
    }
    for names in [coroutine, generator, async_generator] {
        let all = [names.code, names.frame, names.awaited];
        if all.iter().map(|&name| getattr_opt(o, name)).collect::<R<Option<Vec<_>>>>()?.is_some() {
            return Ok(Some(names));
        }
    }
    Ok(None)
}

/// What the interpreter's own wrappers (`anext()`, `asend()`, `coroutine.__await__()`) hold and don't show.
fn inside_wrapper(o: &Obj) -> R<Option<Obj>> {
    let referents = call(attr(&import("gc")?, "get_referents")?.as_ptr(), &[o.as_ptr()])?;
    // SAFETY: gc.get_referents returns a list; its items are alive while we hold it.
    unsafe {
        for i in 0..ffi::PyList_GET_SIZE(referents.as_ptr()) {
            let item = Obj::borrowed(ffi::PyList_GET_ITEM(referents.as_ptr(), i));
            let p = item.as_ptr();
            if ffi::PyCoro_CheckExact(p) != 0 || ffi::PyAsyncGen_CheckExact(p) != 0 || ffi::PyGen_CheckExact(p) != 0 {
                return Ok(Some(item));
            }
        }
    }
    Ok(None)
}

fn present(o: Obj) -> Option<Obj> {
    (!o.is_none()).then_some(o)
}

fn integer(o: Obj) -> R<i64> {
    // SAFETY: -1 with an error for what is no int.
    unsafe {
        let n = ffi::PyLong_AsLongLong(o.as_ptr());
        if n == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        Ok(n)
    }
}
