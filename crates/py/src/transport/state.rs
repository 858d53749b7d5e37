//! A transport's fields, and finding them in an object.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::RawFd;
use std::os::raw::{c_int, c_void};

use net::Outbox;
use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::datagram_state::Datagrams;
use crate::event_loop::LoopCore;
use crate::raw::globals::globals;
use crate::raw::{Obj, Slot, R};

/// What is behind the descriptor; decides the system calls and the words of errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Socket,
    ReadPipe,
    WritePipe,
    /// A terminal or another character device: watched only while something waits to be written.
    WriteDevice,
    /// Messages with addresses instead of a stream: `DatagramTransport`.
    Datagrams,
}

impl Kind {
    pub fn is_pipe(self) -> bool {
        !matches!(self, Kind::Socket | Kind::Datagrams)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Socket => "socket",
            Kind::Datagrams => "datagram",
            _ => "pipe",
        }
    }
}

/// An immutable piece of what waits to be written: a `bytes` object, and for a datagram where it goes.
pub struct Chunk {
    pub bytes: Obj,
    pub to: Option<Obj>,
}

impl Chunk {
    pub fn of(bytes: Obj) -> Self {
        Chunk { bytes, to: None }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a Chunk is only made with an exact `bytes` object, which is immutable and which it keeps alive.
        unsafe {
            let p = ffi::PyBytes_AS_STRING(self.bytes.as_ptr());
            std::slice::from_raw_parts(p.cast(), ffi::Py_SIZE(self.bytes.as_ptr()) as usize)
        }
    }
}

pub struct State {
    pub loop_: Slot,
    /// Kept alive by `loop_`; null once closed.
    pub core: Cell<*const LoopCore>,
    /// The Python socket or file.
    pub sock: Slot,
    pub protocol: Slot,
    pub server: Slot,
    /// Protocol calls run in it.
    pub context: Slot,
    /// A future that `sendfile` waits on until the outbox is empty.
    pub empty_waiter: Slot,
    pub outbox: RefCell<Outbox<Chunk>>,
    pub token: Cell<u64>,
    pub fd: Cell<RawFd>,
    /// How often something was written, or an error seen, after the connection was lost.
    pub lost: Cell<u32>,
    pub kind: Cell<Kind>,
    /// The protocol reads into buffers of its own (`BufferedProtocol`).
    pub buffered: Cell<bool>,
    /// `connection_made` is over: the reactor may be entered.
    pub started: Cell<bool>,
    /// The protocol is a TLS connection, which takes ciphertext without Python in between.
    pub tls: Cell<bool>,
    /// The protocol is exactly asyncio's `StreamReaderProtocol`.
    pub stream: Cell<bool>,
    /// The loop's turn in which no more is read: a job that reads in the next one is on its way.
    pub rests_in_turn: Cell<u64>,
    /// How much the last read for a stream brought.
    pub last_read: Cell<usize>,
    pub registered: Cell<bool>,
    pub paused: Cell<bool>,
    /// Something may be there to read: an edge came while nobody was reading.
    pub read_pending: Cell<bool>,
    pub closing: Cell<bool>,
    pub at_eof: Cell<bool>,
    /// `write_eof` was called.
    pub eof_written: Cell<bool>,
    pub protocol_connected: Cell<bool>,
    /// Only of datagram transports.
    pub datagrams: OnceCell<Box<Datagrams>>,
}

/// Where the state begins: behind asyncio's base class.
static mut OFFSET: usize = 0;
static mut TYPE: *mut PyTypeObject = std::ptr::null_mut();
static mut DATAGRAM_TYPE: *mut PyTypeObject = std::ptr::null_mut();

/// Called once, when the type is made.
pub fn set_layout(offset: usize) {
    // SAFETY: under the import lock, before the first instance exists.
    unsafe { OFFSET = offset };
}

pub fn set_type(class: *mut PyTypeObject) {
    // SAFETY: as above.
    unsafe { TYPE = class };
}

pub fn set_datagram_type(class: *mut PyTypeObject) {
    // SAFETY: as above.
    unsafe { DATAGRAM_TYPE = class };
}

/// `segue._core.DatagramTransport`.
pub fn datagram_class() -> *mut PyTypeObject {
    // SAFETY: written once, at import.
    unsafe { DATAGRAM_TYPE }
}

/// `segue._core.Transport`.
pub fn class() -> *mut PyTypeObject {
    // SAFETY: written once, at import.
    unsafe { TYPE }
}

pub fn offset() -> usize {
    // SAFETY: written once, at import.
    unsafe { OFFSET }
}

/// The state of a transport; `o` is one, alive while the reference is used.
#[inline(always)]
pub fn st<'a>(o: *mut PyObject) -> &'a State {
    // SAFETY: only called on instances; `alloc` has written the state.
    unsafe { &*o.cast::<u8>().add(offset()).cast::<State>() }
}

/// A transport whose state is empty but valid.
pub fn alloc(class: *mut PyTypeObject) -> R<Obj> {
    // SAFETY: fresh memory of the right size; the state is written before anybody sees the object.
    unsafe {
        let o = Obj::owned(ffi::PyType_GenericAlloc(class, 0))?;
        std::ptr::write(
            o.as_ptr().cast::<u8>().add(offset()).cast::<State>(),
            State {
                loop_: Slot::default(),
                core: Cell::new(std::ptr::null()),
                sock: Slot::default(),
                protocol: Slot::default(),
                server: Slot::default(),
                context: Slot::default(),
                empty_waiter: Slot::default(),
                outbox: RefCell::default(),
                token: Cell::new(u64::MAX),
                fd: Cell::new(-1),
                lost: Cell::new(0),
                kind: Cell::new(Kind::Socket),
                buffered: Cell::new(false),
                started: Cell::new(false),
                tls: Cell::new(false),
                stream: Cell::new(false),
                rests_in_turn: Cell::new(0),
                last_read: Cell::new(0),
                registered: Cell::new(false),
                paused: Cell::new(false),
                read_pending: Cell::new(false),
                closing: Cell::new(false),
                at_eof: Cell::new(false),
                eof_written: Cell::new(false),
                protocol_connected: Cell::new(false),
                datagrams: OnceCell::new(),
            },
        );
        Ok(o)
    }
}

impl State {
    /// The loop's Rust side; none once closed.
    pub fn core(&self) -> Option<&LoopCore> {
        // SAFETY: set and cleared together with `loop_`.
        unsafe { self.core.get().as_ref() }
    }

    /// What to read from: the descriptor, and whether it is a socket.
    #[inline(always)]
    pub fn source(&self) -> (RawFd, bool) {
        (self.fd.get(), self.kind.get() == Kind::Socket)
    }

    pub fn is_reading(&self) -> bool {
        !self.closing.get() && !self.paused.get()
    }

    /// A socket that nothing keeps from sending now: no end of file, no lost connection, nothing that waits already.
    #[inline(always)]
    pub fn can_send_at_once(&self) -> bool {
        self.kind.get() == Kind::Socket
            && self.lost.get() == 0
            && !self.eof_written.get()
            && !self.empty_waiter.is_set()
            && self.outbox.borrow().is_empty()
    }

    /// Installs a protocol and looks which kind it is.
    pub fn set_protocol(&self, protocol: Obj) -> R<()> {
        let buffered = is_buffered(protocol.as_ptr())?;
        self.tls.set(crate::tls::is_connection(protocol.as_ptr()));
        // SAFETY: alive.
        let class = unsafe { ffi::Py_TYPE(protocol.as_ptr()) };
        self.stream.set(globals().streams.as_ref().is_some_and(|streams| class == streams.protocol));
        self.protocol.set(protocol);
        self.buffered.set(buffered);
        Ok(())
    }

    fn slots(&self) -> [&Slot; 7] {
        [&self.loop_, &self.sock, &self.protocol, &self.server, &self.context, &self.empty_waiter, &self.sock]
    }

    /// # Safety
    /// The collector's visitor.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        for slot in &self.slots()[..6] {
            // SAFETY: passed on.
            let r = unsafe { slot.visit(visit, arg) };
            if r != 0 {
                return r;
            }
        }
        // Chunks are `bytes`, which refer to nothing; where datagrams go is whatever the program gave.
        if let Some(datagrams) = self.datagrams.get() {
            if let Ok(outbox) = self.outbox.try_borrow() {
                for to in outbox.chunks().filter_map(|chunk| chunk.to.as_ref()) {
                    // SAFETY: passed on; alive.
                    let r = unsafe { crate::raw::obj::visit_ptr(to.as_ptr(), visit, arg) };
                    if r != 0 {
                        return r;
                    }
                }
            }
            // SAFETY: passed on.
            return unsafe { datagrams.traverse(visit, arg) };
        }
        0
    }

    pub fn clear(&self) {
        self.core.set(std::ptr::null());
        for slot in &self.slots()[..6] {
            slot.clear();
        }
        let chunks = self.outbox.try_borrow_mut().map(|mut o| o.take_all());
        drop(chunks);
        if let Some(datagrams) = self.datagrams.get() {
            datagrams.clear();
        }
    }
}

fn is_buffered(protocol: *mut PyObject) -> R<bool> {
    let class = globals().buffered_protocol;
    // SAFETY: both alive.
    match unsafe { ffi::PyObject_IsInstance(protocol, class) } {
        -1 => Err(crate::raw::Raised),
        n => Ok(n == 1),
    }
}

/// Enters the transport's context for a protocol call and leaves it afterwards.
#[inline(always)]
pub fn in_context<T>(s: &State, body: impl FnOnce() -> R<T>) -> R<T> {
    let Some(context) = s.context.obj() else { return body() };
    // A protocol call inside a protocol call (a write that pauses, a close) already is in it.
    // SAFETY: a context object; entering fails cleanly if it is in use.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        // SAFETY: always allowed.
        unsafe { ffi::PyErr_Clear() };
        return body();
    }
    let mut value = None;
    let result = body().map(|v| value = Some(v));
    crate::raw::task_step::leave_context(&context, result)?;
    value.ok_or(crate::raw::Raised)
}
