//! Plaintext to ciphertext, and ciphertext to the transport below; flow control towards the application.

use pyo3::ffi::{self, PyObject};

use super::engine::bytes_of;
use super::errors::{caught, caught_all, fatal_error, log_warning, report};
use super::state::{tls, Phase, Tls};
use crate::raw::globals::globals;
use crate::raw::obj::{call_method, type_error};
use crate::raw::{Obj, Raised, R};
use crate::transport::writing::{write_slice, View};

/// As asyncio: warn when somebody keeps writing into a lost connection.
const LOG_THRESHOLD: u32 = 5;

/// How much is encrypted before it is sent: a large write is never twice in memory as a whole.
const CHUNK: usize = 64 * 1024;

/// What is written during a protocol call leaves before it is this much.
const CORK: usize = 64 * 1024;

fn type_name(o: *mut PyObject) -> String {
    // SAFETY: alive; a type's name is a C string.
    let name = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(o)).tp_name) }.to_string_lossy();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// `write(data)` of the application's transport.
#[inline]
pub fn write(o: *mut PyObject, data: *mut PyObject) -> R<()> {
    // SAFETY: alive.
    let bytes_like = unsafe {
        ffi::PyBytes_Check(data) != 0 || ffi::PyByteArray_Check(data) != 0 || ffi::PyMemoryView_Check(data) != 0
    };
    if !bytes_like {
        return Err(type_error(&format!("data: expecting a bytes-like instance, got {}", type_name(data))));
    }
    let view = View::new(data)?;
    if view.bytes().is_empty() {
        return Ok(());
    }
    let s = tls(o);
    if s.is_past_writing() {
        return dropped(s);
    }
    let put = put(s, view.bytes());
    drop(view);
    after_writing(o, s, put)
}

/// `writelines(list_of_data)`: small pieces share a record.
pub fn writelines(o: *mut PyObject, list: *mut PyObject) -> R<()> {
    // SAFETY: alive; a new list of the items, so that a generator is used up once.
    let items = unsafe { Obj::owned(ffi::PySequence_List(list))? };
    let s = tls(o);
    if s.is_past_writing() {
        return dropped(s);
    }
    // SAFETY: a list nobody else has.
    let count = unsafe { ffi::PyList_GET_SIZE(items.as_ptr()) };
    // SAFETY: within the list.
    let views: R<Vec<View>> =
        (0..count).map(|i| View::new(unsafe { ffi::PyList_GET_ITEM(items.as_ptr(), i) })).collect();
    let views = views?;
    let Some(core) = s.core() else { return Ok(()) };
    let put = core.tls_buffers.with_gather(|joined| {
        for view in &views {
            let data = view.bytes();
            if joined.len() + data.len() > CHUNK {
                put(s, joined)?;
                joined.clear();
            }
            if data.len() >= CHUNK {
                put(s, data)?;
            } else {
                joined.extend_from_slice(data);
            }
        }
        put(s, joined)
    });
    drop(views);
    after_writing(o, s, put)
}

/// Whatever went wrong while writing is fatal for the connection, not for the writer.
#[inline]
fn after_writing(o: *mut PyObject, s: &Tls, put: R<()>) -> R<()> {
    let result = put.and_then(|()| if s.phase.get() == Phase::Wrapped { process_outgoing(o, s) } else { Ok(()) });
    match result {
        Ok(()) => Ok(()),
        Err(Raised) => fatal_error(o, &caught()?, "Fatal error on SSL protocol"),
    }
}

#[cold]
fn dropped(s: &Tls) -> R<()> {
    if s.lost.get() >= LOG_THRESHOLD {
        log_warning("SSL connection is closed")?;
    }
    s.lost.set(s.lost.get().saturating_add(1));
    Ok(())
}

/// Encrypts as much as can be now; the rest waits in the backlog. Calls nothing of the application's.
#[inline]
fn put(s: &Tls, data: &[u8]) -> R<()> {
    let mut rest = data;
    if s.phase.get() == Phase::Wrapped && s.backlog_len.get() == 0 {
        while !rest.is_empty() {
            let Some(n) = s.engine.write(&rest[..rest.len().min(CHUNK)])? else { break };
            rest = &rest[n..];
            if !rest.is_empty() {
                send_outgoing(s)?;
            }
        }
    }
    if !rest.is_empty() {
        push(s, bytes_of(rest)?, rest.len());
    }
    Ok(())
}

/// `data` is exact `bytes` of this length, more than 0.
pub fn push(s: &Tls, data: Obj, len: usize) {
    s.backlog_len.set(s.backlog_len.get() + len);
    s.backlog.borrow_mut().push_back(data);
}

/// Encrypts what waited, then sends.
pub fn write_backlog(o: *mut PyObject, s: &Tls) -> R<()> {
    loop {
        let Some(first) = s.backlog.borrow().front().cloned() else { break };
        let view = View::new(first.as_ptr())?;
        let len = view.bytes().len();
        let Some(n) = s.engine.write(&view.bytes()[..len.min(CHUNK)])? else { break };
        // Writing may have called Python, and so have come here: only what is still first is taken off.
        let is_first = s.backlog.borrow().front().is_some_and(|f| f.as_ptr() == first.as_ptr());
        if is_first {
            let rest = if n < len { Some(bytes_of(&view.bytes()[n..])?) } else { None };
            s.backlog_len.set(s.backlog_len.get() - n);
            let gone = s.backlog.borrow_mut().pop_front();
            if let Some(rest) = rest {
                s.backlog.borrow_mut().push_front(rest);
            }
            drop(gone);
        }
        if s.engine.outgoing_len()? >= CHUNK {
            send_outgoing(s)?;
        }
    }
    process_outgoing(o, s)
}

/// Sends what is encrypted, unless the application is being called with data, and looks at the marks.
#[inline]
pub fn process_outgoing(o: *mut PyObject, s: &Tls) -> R<()> {
    let mut waiting = s.engine.outgoing_len()?;
    if waiting > 0 && (!s.corked.get() || waiting >= CORK) {
        send_outgoing(s)?;
        waiting = s.engine.outgoing_len()?;
    }
    control_app_writing(o, s, waiting + s.backlog_len.get())
}

#[inline]
fn send_outgoing(s: &Tls) -> R<()> {
    if s.below_is_full.get() {
        return Ok(());
    }
    let (Some(below), Some(core)) = (s.transport.obj(), s.core()) else { return Ok(()) };
    core.tls_buffers.with_cipher(|buffer| {
        s.engine.drain(buffer)?;
        if buffer.is_empty() {
            return Ok(());
        }
        if s.transport_is_ours.get() {
            return write_slice(below.as_ptr(), buffer);
        }
        let data = bytes_of(buffer)?;
        call_method(globals().names.write, &[below.as_ptr(), data.as_ptr()]).map(drop)
    })
}

/// Plaintext and ciphertext that wait to be sent, in bytes.
pub fn buffered_len(s: &Tls) -> R<usize> {
    Ok(s.engine.outgoing_len()? + s.backlog_len.get())
}

/// Tells the application to pause or resume writing, now that `size` bytes wait.
#[inline]
pub fn control_app_writing(o: *mut PyObject, s: &Tls, size: usize) -> R<()> {
    let marks = s.outgoing_marks.get();
    let paused = s.app_writing_paused.get();
    let n = &globals().names;
    if size >= marks.high && !paused {
        s.app_writing_paused.set(true);
        tell(o, s, n.pause_writing, "protocol.pause_writing() failed")
    } else if size <= marks.low && paused {
        s.app_writing_paused.set(false);
        tell(o, s, n.resume_writing, "protocol.resume_writing() failed")
    } else {
        Ok(())
    }
}

#[cold]
fn tell(o: *mut PyObject, s: &Tls, method: *mut PyObject, failed: &str) -> R<()> {
    let Some(protocol) = s.app_protocol.obj() else { return Ok(()) };
    match call_method(method, &[protocol.as_ptr()]) {
        Ok(_) => Ok(()),
        Err(Raised) => report(s, failed, &caught_all()?, &s.app_transport.obj_or_none(), o),
    }
}

/// The transport below takes more again.
pub fn below_has_room(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    s.below_is_full.set(false);
    process_outgoing(o, s)
}
