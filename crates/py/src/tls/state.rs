//! A connection's fields.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject};

use super::engine::Engine;
use super::object::{self, Layout};
use crate::event_loop::LoopCore;
use crate::raw::obj::runtime_error;
use crate::raw::{Obj, Slot, R};

/// The connection. See the table in the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    #[default]
    Unwrapped,
    Handshake,
    Wrapped,
    Flushing,
    Shutdown,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Unwrapped => "UNWRAPPED",
            Phase::Handshake => "DO_HANDSHAKE",
            Phase::Wrapped => "WRAPPED",
            Phase::Flushing => "FLUSHING",
            Phase::Shutdown => "SHUTDOWN",
        }
    }
}

/// What the application's protocol has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Told {
    #[default]
    Nothing,
    ConnectionMade,
    Eof,
    ConnectionLost,
}

/// A pair of marks for flow control, in bytes.
#[derive(Clone, Copy)]
pub struct Marks {
    pub low: usize,
    pub high: usize,
}

/// Asyncio's proportion.
pub const fn marks(high: usize) -> Marks {
    Marks { low: high / 4, high }
}

/// Asyncio's FLOW_CONTROL_HIGH_WATER_SSL_READ and _WRITE.
pub const READ_HIGH: usize = 256 * 1024;
pub const WRITE_HIGH: usize = 512 * 1024;

/// The protocol side: what the transport below talks to.
pub struct Tls {
    pub loop_: Slot,
    /// Kept alive by `loop_`.
    core: Cell<*const LoopCore>,
    pub engine: Engine,
    /// The transport below; empty before connection_made and after connection_lost.
    pub transport: Slot,
    /// Whether it is of our own class, so that it can be called without Python.
    pub transport_is_ours: Cell<bool>,
    pub app_protocol: Slot,
    /// The application reads into buffers of its own (`BufferedProtocol`).
    pub app_is_buffered: Cell<bool>,
    /// Empty after connection_lost.
    pub app_transport: Slot,
    pub context: Slot,
    pub waiter: Slot,
    /// `get_extra_info`'s values: a dict.
    pub extra: Slot,
    pub handshake_timeout: Slot,
    pub shutdown_timeout: Slot,
    pub handshake_timer: Slot,
    pub shutdown_timer: Slot,
    /// When the handshake began, in debug mode.
    pub handshake_started: Cell<Option<u64>>,
    pub phase: Cell<Phase>,
    pub told: Cell<Told>,
    /// How often something was written after the connection was lost.
    pub lost: Cell<u32>,
    pub eof_received: Cell<bool>,
    /// The shutdown is complete; the transport below closes soon.
    pub shut_down: Cell<bool>,
    /// Plaintext that couldn't be encrypted yet: exact `bytes`, none of them empty.
    pub backlog: RefCell<VecDeque<Obj>>,
    /// Invariant: the sum of the backlog's lengths.
    pub backlog_len: Cell<usize>,
    /// The application is being called with data: what it writes is collected and sent when it returns.
    pub corked: Cell<bool>,
    pub below_is_full: Cell<bool>,
    pub below_reading_paused: Cell<bool>,
    pub app_reading_paused: Cell<bool>,
    pub app_writing_paused: Cell<bool>,
    pub incoming_marks: Cell<Marks>,
    pub outgoing_marks: Cell<Marks>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            loop_: Slot::default(),
            core: Cell::new(std::ptr::null()),
            engine: Engine::default(),
            transport: Slot::default(),
            transport_is_ours: Cell::default(),
            app_protocol: Slot::default(),
            app_is_buffered: Cell::default(),
            app_transport: Slot::default(),
            context: Slot::default(),
            waiter: Slot::default(),
            extra: Slot::default(),
            handshake_timeout: Slot::default(),
            shutdown_timeout: Slot::default(),
            handshake_timer: Slot::default(),
            shutdown_timer: Slot::default(),
            handshake_started: Cell::default(),
            phase: Cell::default(),
            told: Cell::default(),
            lost: Cell::default(),
            eof_received: Cell::default(),
            shut_down: Cell::default(),
            backlog: RefCell::default(),
            backlog_len: Cell::default(),
            corked: Cell::default(),
            below_is_full: Cell::default(),
            below_reading_paused: Cell::default(),
            app_reading_paused: Cell::default(),
            app_writing_paused: Cell::default(),
            incoming_marks: Cell::new(marks(READ_HIGH)),
            outgoing_marks: Cell::new(marks(WRITE_HIGH)),
        }
    }
}

static mut LAYOUT: Layout = Layout::EMPTY;

#[inline(always)]
pub fn tls<'a>(o: *mut PyObject) -> &'a Tls {
    object::state::<Tls>(o)
}

impl Tls {
    /// The loop's Rust side; `loop_` keeps it alive.
    pub fn core(&self) -> Option<&LoopCore> {
        // SAFETY: set together with `loop_`, and cleared before it.
        unsafe { self.core.get().as_ref() }
    }

    pub fn set_core(&self, core: &LoopCore) {
        self.core.set(core);
    }

    /// Asyncio's permitted changes.
    pub fn set_phase(&self, new: Phase) -> R<()> {
        let old = self.phase.get();
        let allowed = matches!(
            (old, new),
            (_, Phase::Unwrapped)
                | (Phase::Unwrapped, Phase::Handshake)
                | (Phase::Handshake, Phase::Wrapped)
                | (Phase::Wrapped, Phase::Flushing)
                | (Phase::Flushing, Phase::Shutdown)
        );
        if !allowed {
            let states = ("SSLProtocolState", old.name(), new.name());
            return Err(runtime_error(&format!(
                "cannot switch state from {0}.{1} to {0}.{2}",
                states.0, states.1, states.2
            )));
        }
        self.phase.set(new);
        Ok(())
    }

    /// No more is sent: the connection is closing or closed.
    pub fn is_past_writing(&self) -> bool {
        matches!(self.phase.get(), Phase::Flushing | Phase::Shutdown | Phase::Unwrapped)
    }

    /// Nothing can happen on the connection any more but its connection_lost.
    pub fn is_over(&self) -> bool {
        self.shut_down.get() || self.phase.get() == Phase::Unwrapped
    }

    fn slots(&self) -> [&Slot; 11] {
        [
            &self.loop_,
            &self.transport,
            &self.app_protocol,
            &self.app_transport,
            &self.context,
            &self.waiter,
            &self.extra,
            &self.handshake_timeout,
            &self.shutdown_timeout,
            &self.handshake_timer,
            &self.shutdown_timer,
        ]
    }
}

impl object::State for Tls {
    fn layout() -> *mut Layout {
        &raw mut LAYOUT
    }

    unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // The backlog holds only `bytes`, which refer to nothing.
        for slot in self.slots() {
            // SAFETY: passed on.
            let r = unsafe { slot.visit(visit, arg) };
            if r != 0 {
                return r;
            }
        }
        // SAFETY: passed on.
        unsafe { self.engine.traverse(visit, arg) }
    }

    fn clear(&self) {
        self.core.set(std::ptr::null());
        self.engine.clear();
        for slot in self.slots() {
            slot.clear();
        }
    }
}
