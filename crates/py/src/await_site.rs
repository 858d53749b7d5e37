//! Where a task is suspended: one number for the code and the instruction of every frame in its await chain.
//!
//! Looked at only for tasks in a cancelled scope, so it asks Python's own attributes and needs no frame layout.

use pyo3::ffi;

use crate::raw::globals::import;
use crate::raw::obj::{call, getattr_opt};
use crate::raw::{Obj, R};

/// Deeper chains are told apart by their outer frames only.
const DEPTH: usize = 200;

/// The await site of a suspended coroutine. What tells nothing about itself (a coroutine in C) is one site.
pub fn of(coroutine: Option<Obj>) -> R<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut at = coroutine;
    for _ in 0..DEPTH {
        let Some(owner) = at else { break };
        let Some(prefix) = kind(&owner)? else {
            at = inside_wrapper(&owner)?;
            continue;
        };
        let frame = text_attr(&owner, &format!("{prefix}_frame"))?;
        let instruction = match frame {
            Some(frame) => integer(text_attr(&frame, "f_lasti")?),
            None => -1,
        };
        let code = text_attr(&owner, &format!("{prefix}_code"))?.map_or(0, |c| c.as_ptr() as u64);
        for part in [code, instruction as u64] {
            hash = (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let next = match prefix {
            "cr" => "cr_await",
            "gi" => "gi_yieldfrom",
            _ => "ag_await",
        };
        at = text_attr(&owner, next)?;
    }
    Ok(hash)
}

/// The prefix of the attributes of a coroutine, generator or asynchronous generator.
fn kind(o: &Obj) -> R<Option<&'static str>> {
    for (prefix, attribute) in [("cr", "cr_code"), ("gi", "gi_code"), ("ag", "ag_code")] {
        if text_attr(o, attribute)?.is_some() {
            return Ok(Some(prefix));
        }
    }
    Ok(None)
}

/// What the interpreter's own wrappers (`anext()`, `asend()`, `coroutine.__await__()`) hold and don't show.
fn inside_wrapper(o: &Obj) -> R<Option<Obj>> {
    let referents = call(crate::raw::globals::attr(&import("gc")?, "get_referents")?.as_ptr(), &[o.as_ptr()])?;
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

fn text_attr(o: &Obj, name: &str) -> R<Option<Obj>> {
    Ok(getattr_opt(o.as_ptr(), Obj::str(name)?.as_ptr())?.filter(|v| !v.is_none()))
}

fn integer(o: Option<Obj>) -> i64 {
    // SAFETY: -1 on anything but an int, with the error cleared.
    o.map_or(-1, |i| unsafe {
        let n = ffi::PyLong_AsLongLong(i.as_ptr());
        ffi::PyErr_Clear();
        n
    })
}
