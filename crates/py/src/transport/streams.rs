//! What asyncio's streams do with what was read (`StreamReaderProtocol.data_received`, `StreamReader.feed_data`,
//! `_wakeup_waiter`), without their Python code, and without the copies that it needs: large messages are read straight into the
//! reader's buffer.
//!
//! Called by [`super::reading`] for a protocol that is exactly a `StreamReaderProtocol`. Before every read it is checked that
//! nobody would see a difference: both classes are as asyncio defines them, neither object overrides what would be called, and
//! all attributes hold what asyncio's own code puts there. Where anything else is found (a patched method, a subclass, data
//! after the end, a buffer that somebody looks into), Python's code runs and does what it does, errors included.
//!
//! | asked | how |
//! |---|---|
//! | classes unchanged? | their version tags, which the interpreter changes with every change of a class or its bases |
//! | functions unchanged? | their code objects |
//! | overridden in the object? | by looking the method up, as a call would |

use std::cell::Cell;

use net::socket::{self, Received};
use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::state::State;
use crate::event_loop::LoopCore;
use crate::raw::future::{self, State as FutureState};
use crate::raw::globals::{attr, globals, import, Names};
use crate::raw::obj::{call_method, getattr, is_true, setattr, MethodLookup};
use crate::raw::{Obj, Raised, R};

/// From this size of the last message on, the next is read straight into the reader's buffer. Copying less costs less than
/// making the buffer larger and smaller again.
const WORTH_DIRECT: usize = 16 * 1024;

/// How much is read at once into the reader's buffer.
const DIRECT: usize = 128 * 1024;

/// asyncio's stream classes as they were found when the module was imported.
pub struct Originals {
    pub protocol: *mut PyTypeObject,
    reader: *mut PyTypeObject,
    stream_reader: *mut PyObject,
    /// Functions and their code: data_received, the getter of _stream_reader, feed_data, _wakeup_waiter.
    functions: [(*mut PyObject, *mut PyObject); 4],
    methods: MethodLookup,
    /// What the classes' version tags were when they were last looked at and found unchanged; 0 before.
    tags: Cell<(u32, u32)>,
}

impl Originals {
    /// None where they aren't the ones that this file knows: patched already, or of an interpreter that does it differently.
    pub fn find(n: &Names) -> R<Option<Originals>> {
        let module = import("asyncio.streams")?;
        let protocol = attr(&module, "StreamReaderProtocol")?;
        let reader = attr(&module, "StreamReader")?;
        let stream_reader = attr(&protocol, "_stream_reader")?;
        let known: [(Obj, &[&str]); 4] = [
            (getattr(protocol.as_ptr(), n.data_received)?, &["_stream_reader", "feed_data"]),
            (attr(&stream_reader, "fget")?, &["_stream_reader_wr"]),
            (
                getattr(reader.as_ptr(), n.feed_data)?,
                &[
                    "_eof",
                    "_buffer",
                    "extend",
                    "_wakeup_waiter",
                    "_transport",
                    "_paused",
                    "len",
                    "_limit",
                    "pause_reading",
                    "NotImplementedError",
                ],
            ),
            (getattr(reader.as_ptr(), n.wakeup_waiter)?, &["_waiter", "cancelled", "set_result"]),
        ];
        let mut functions = [(std::ptr::null_mut(), std::ptr::null_mut()); 4];
        for (place, (function, names)) in functions.iter_mut().zip(known) {
            // SAFETY: alive; the cast of a function follows the type check.
            if unsafe { ffi::PyFunction_Check(function.as_ptr()) } == 0 || !uses_names(&function, &module, names)? {
                return Ok(None);
            }
            // SAFETY: a function; the code is kept as long as the process lives, so that no other can be at its address.
            let code = unsafe { Obj::borrowed(ffi::PyFunction_GetCode(function.as_ptr())) };
            *place = (function.into_ptr(), code.into_ptr());
        }
        Ok(Some(Originals {
            protocol: protocol.into_ptr().cast(),
            reader: reader.into_ptr().cast(),
            stream_reader: stream_reader.into_ptr(),
            functions,
            methods: MethodLookup::find(),
            tags: Cell::new((0, 0)),
        }))
    }

    fn unchanged(&self, n: &Names) -> R<bool> {
        // SAFETY: classes and functions that are kept as long as the process lives.
        unsafe {
            if self.functions.iter().any(|&(function, code)| ffi::PyFunction_GetCode(function) != code) {
                return Ok(false);
            }
            let tags = ((*self.protocol).tp_version_tag, (*self.reader).tp_version_tag);
            if tags.0 != 0 && tags.1 != 0 && tags == self.tags.get() {
                return Ok(true);
            }
        }
        self.look_again(n)
    }

    /// A class, or a base of it, was changed since we looked: perhaps what we need is still there.
    #[cold]
    fn look_again(&self, n: &Names) -> R<bool> {
        let [data_received, _, feed_data, wakeup_waiter] = self.functions.map(|(function, _)| function);
        let expected = [
            (self.protocol, n.data_received, data_received),
            (self.protocol, n.stream_reader, self.stream_reader),
            (self.protocol, n.stream_reader_wr, std::ptr::null_mut()),
            (self.reader, n.feed_data, feed_data),
            (self.reader, n.wakeup_waiter, wakeup_waiter),
            (self.reader, n.eof, std::ptr::null_mut()),
            (self.reader, n.buffer, std::ptr::null_mut()),
            (self.reader, n.waiter, std::ptr::null_mut()),
            (self.reader, n.limit, std::ptr::null_mut()),
            (self.reader, n.paused, std::ptr::null_mut()),
            (self.reader, n.transport_slot, std::ptr::null_mut()),
        ];
        for (class, name, value) in expected {
            if in_class(class, name)? != value {
                return Ok(false);
            }
        }
        // SAFETY: classes are alive; comparing the slots' addresses, which are the interpreter's own functions.
        let plain = unsafe {
            [self.protocol, self.reader].iter().all(|&class| {
                (*class)
                    .tp_getattro
                    .is_some_and(|f| std::ptr::fn_addr_eq(f, ffi::PyObject_GenericGetAttr as ffi::getattrofunc))
                    && (*class)
                        .tp_setattro
                        .is_some_and(|f| std::ptr::fn_addr_eq(f, ffi::PyObject_GenericSetAttr as ffi::setattrofunc))
            })
        };
        if plain {
            // SAFETY: as above. A tag that the interpreter has none of (0) is never taken for a valid one.
            self.tags.set(unsafe { ((*self.protocol).tp_version_tag, (*self.reader).tp_version_tag) });
        }
        Ok(plain)
    }
}

/// A class's attribute as its instances find it, borrowed (the class keeps it); null where there is none.
fn in_class(class: *mut PyTypeObject, name: *mut PyObject) -> R<*mut PyObject> {
    match getattr(class.cast(), name) {
        Ok(value) => Ok(value.as_ptr()),
        // SAFETY: AttributeError is alive.
        Err(Raised) if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) } != 0 => {
            // SAFETY: always allowed.
            unsafe { ffi::PyErr_Clear() };
            Ok(std::ptr::null_mut())
        }
        Err(e) => Err(e),
    }
}

/// Whether a function is one of `module`'s own that refers to exactly these names.
fn uses_names(function: &Obj, module: &Obj, names: &[&str]) -> R<bool> {
    if attr(function, "__globals__")?.as_ptr() != attr(module, "__dict__")?.as_ptr() {
        return Ok(false);
    }
    let items = names.iter().map(|name| Obj::str(name)).collect::<R<Vec<_>>>()?;
    let expected = Obj::tuple(&items.iter().map(Obj::as_ptr).collect::<Vec<_>>())?;
    let found = attr(&attr(function, "__code__")?, "co_names")?;
    // SAFETY: two tuples.
    match unsafe { ffi::PyObject_RichCompareBool(found.as_ptr(), expected.as_ptr(), ffi::Py_EQ) } {
        -1 => Err(Raised),
        n => Ok(n == 1),
    }
}

/// A reader that nothing unusual is going on with.
struct Target {
    reader: Obj,
    buffer: Obj,
    /// What `_waiter` holds: a future of ours that isn't finished, or None.
    waiter: Obj,
    limit: i64,
}

impl Target {
    fn of(protocol: &Obj) -> R<Option<Target>> {
        let g = globals();
        let n = &g.names;
        let Some(originals) = &g.streams else { return Ok(None) };
        let [data_received, _, feed_data, wakeup_waiter] = originals.functions.map(|(function, _)| function);
        if !originals.unchanged(n)? || !originals.methods.calls(protocol.as_ptr(), n.data_received, data_received)? {
            return Ok(None);
        }
        let Some(reader) = referent(&getattr(protocol.as_ptr(), n.stream_reader_wr)?)? else { return Ok(None) };
        // SAFETY: alive throughout.
        unsafe {
            if ffi::Py_TYPE(reader.as_ptr()) != originals.reader
                || !originals.methods.calls(reader.as_ptr(), n.feed_data, feed_data)?
                || !originals.methods.calls(reader.as_ptr(), n.wakeup_waiter, wakeup_waiter)?
                || getattr(reader.as_ptr(), n.eof)?.as_ptr() != ffi::Py_False()
            {
                return Ok(None);
            }
            let buffer = getattr(reader.as_ptr(), n.buffer)?;
            let waiter = getattr(reader.as_ptr(), n.waiter)?;
            let limit = getattr(reader.as_ptr(), n.limit)?;
            if ffi::PyByteArray_CheckExact(buffer.as_ptr()) == 0 || ffi::PyLong_CheckExact(limit.as_ptr()) == 0 {
                return Ok(None);
            }
            if !waiter.is_none()
                && (ffi::Py_TYPE(waiter.as_ptr()) != g.future_type
                    || future::state(waiter.as_ptr()).state.get() == FutureState::Finished)
            {
                return Ok(None);
            }
            let mut overflow = 0;
            let limit = ffi::PyLong_AsLongLongAndOverflow(limit.as_ptr(), &mut overflow);
            Ok((overflow == 0).then_some(Target { reader, buffer, waiter, limit }))
        }
    }

    fn len(&self) -> usize {
        // SAFETY: an exact bytearray.
        unsafe { ffi::PyByteArray_Size(self.buffer.as_ptr()) as usize }
    }

    /// Makes the buffer so long; what is new isn't initialised. BufferError if somebody looks into it.
    fn resize(&self, len: usize) -> R<()> {
        // SAFETY: an exact bytearray; resizing checks for exports.
        match unsafe { ffi::PyByteArray_Resize(self.buffer.as_ptr(), len as isize) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Where byte `at` of the buffer is.
    fn at(&self, at: usize) -> *mut u8 {
        // SAFETY: within the buffer or at its end.
        unsafe { ffi::PyByteArray_AsString(self.buffer.as_ptr()).cast::<u8>().add(at) }
    }

    /// `feed_data` behind its `extend`: `o` is the transport.
    fn fed(&self, len: usize) -> R<()> {
        let g = globals();
        let n = &g.names;
        let none = Obj::none();
        if !self.waiter.is_none() {
            setattr(self.reader.as_ptr(), n.waiter, none.as_ptr())?;
            // SAFETY: a future of ours.
            if unsafe { future::state(self.waiter.as_ptr()) }.state.get() != FutureState::Cancelled {
                future::set_result_on(self.waiter.as_ptr(), none.clone())?;
            }
        }
        if len as i64 > self.limit.saturating_mul(2) {
            return self.pause();
        }
        Ok(())
    }

    #[cold]
    fn pause(&self) -> R<()> {
        let n = &globals().names;
        let reader = self.reader.as_ptr();
        let transport = getattr(reader, n.transport_slot)?;
        if transport.is_none() || is_true(getattr(reader, n.paused)?.as_ptr())? {
            return Ok(());
        }
        // SAFETY: True and NotImplementedError are alive.
        unsafe {
            match call_method(n.pause_reading, &[transport.as_ptr()]) {
                Ok(_) => setattr(reader, n.paused, ffi::Py_True()),
                Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_NotImplementedError) != 0 => {
                    ffi::PyErr_Clear();
                    setattr(reader, n.transport_slot, ffi::Py_None())
                }
                Err(e) => Err(e),
            }
        }
    }
}

/// What an exact weak reference refers to; none for anything else, None included.
fn referent(reference: &Obj) -> R<Option<Obj>> {
    // SAFETY: alive; the reference is read after the type check, and the result is a new reference or null.
    unsafe {
        if ffi::Py_TYPE(reference.as_ptr()) != (&raw mut ffi::_PyWeakref_RefType).cast() {
            return Ok(None);
        }
        let mut found = std::ptr::null_mut();
        match ffi::compat::PyWeakref_GetRef(reference.as_ptr(), &mut found) {
            -1 => Err(Raised),
            _ => Ok(Obj::from_nullable(found)),
        }
    }
}

/// How a read for a stream went.
pub enum Fed {
    /// Something unusual: nothing was read, Python's own code is to do it.
    No,
    /// Read and fed; whether as much came as was asked for. What `feed_data` would have raised is inside.
    Yes(R<bool>),
    Nothing(Received),
}

/// Reads once for a protocol that is exactly a `StreamReaderProtocol`.
pub fn read(s: &State, core: &LoopCore, protocol: &Obj) -> R<Fed> {
    let target = match Target::of(protocol) {
        Ok(Some(target)) => target,
        Ok(None) => return Ok(Fed::No),
        Err(Raised) => {
            // An attribute is missing, which Python's code will say in its own words.
            // SAFETY: always allowed.
            unsafe { ffi::PyErr_Clear() };
            return Ok(Fed::No);
        }
    };
    let (fd, is_socket) = s.source();
    let before = target.len();
    if s.last_read.get() < WORTH_DIRECT {
        let mut fed = Ok(false);
        let received = core.read_buffer.with(|buffer| {
            let received = socket::read(fd, is_socket, buffer);
            if let Received::Bytes(count) = received {
                s.last_read.set(count);
                fed = append(&target, before, &buffer[..count]).map(|()| count == buffer.len());
            }
            received
        });
        return Ok(match received {
            Received::Bytes(count) => Fed::Yes(fed.and_then(|full| target.fed(before + count).map(|()| full))),
            other => Fed::Nothing(other),
        });
    }
    if target.resize(before + DIRECT).is_err() {
        // SAFETY: always allowed. Python's code meets the same and reports it.
        unsafe { ffi::PyErr_Clear() };
        return Ok(Fed::No);
    }
    // SAFETY: the buffer was just made long enough, and nobody else runs before it is shortened again.
    let spare = unsafe { std::slice::from_raw_parts_mut(target.at(before).cast(), DIRECT) };
    let received = socket::read_spare(fd, is_socket, spare);
    let count = if let Received::Bytes(count) = received { count } else { 0 };
    target.resize(before + count)?;
    match received {
        Received::Bytes(count) => {
            s.last_read.set(count);
            Ok(Fed::Yes(target.fed(before + count).map(|()| count == DIRECT)))
        }
        other => Ok(Fed::Nothing(other)),
    }
}

/// `bytearray.extend`.
fn append(target: &Target, before: usize, data: &[u8]) -> R<()> {
    target.resize(before + data.len())?;
    // SAFETY: the buffer was just made long enough; it is no part of the loop's buffer.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), target.at(before), data.len()) };
    Ok(())
}
