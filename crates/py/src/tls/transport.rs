//! The application side: `segue._core.SSLTransport`, what protocols and streams get as their transport.

use std::cell::Cell;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::object::{self, class, Layout};
use super::python_ssl::call_named;
use super::reading::{control_below_reading, resume};
use super::shutdown::{abort, start_shutdown};
use super::state::{marks, tls, Marks, Tls, READ_HIGH, WRITE_HIGH};
use super::writing::{self, buffered_len, control_app_writing};
use crate::raw::args::Args;
use crate::raw::globals::{attr, import};
use crate::raw::heap_type::{attribute, fast, no_args, one_arg, slot, Definition};
use crate::raw::obj::{call, guard, raise, raise_object, take_raised};
use crate::raw::obj::{value_error, write_unraisable};
use crate::raw::{Obj, Raised, Slot, R};
use crate::{fast_method, getter, plain_method};

/// The transport's own state; everything else is the connection's.
#[derive(Default)]
pub struct AppSide {
    /// The [`Tls`] object.
    pub protocol: Slot,
    pub closed: Cell<bool>,
}

static mut LAYOUT: Layout = Layout::EMPTY;

impl object::State for AppSide {
    fn layout() -> *mut Layout {
        &raw mut LAYOUT
    }

    unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: passed on.
        unsafe { self.protocol.visit(visit, arg) }
    }

    fn clear(&self) {
        self.protocol.clear();
    }
}

/// A transport for the connection `protocol`, a [`Tls`] object.
pub fn new(protocol: *mut PyObject) -> R<Obj> {
    let o = object::alloc::<AppSide>(class::<AppSide>())?;
    // SAFETY: alive.
    side(o.as_ptr()).protocol.set(unsafe { Obj::borrowed(protocol) });
    Ok(o)
}

#[inline(always)]
fn side<'a>(o: *mut PyObject) -> &'a AppSide {
    object::state::<AppSide>(o)
}

/// Does something with the connection. Where it is gone (closed twice, see [`close`]) the answer is `gone`.
#[inline(always)]
fn with_connection<T>(o: *mut PyObject, gone: T, f: impl FnOnce(*mut PyObject, &Tls) -> R<T>) -> R<T> {
    match side(o).protocol.obj() {
        Some(connection) => f(connection.as_ptr(), tls(connection.as_ptr())),
        None => Ok(gone),
    }
}

/// The same for commands.
#[inline(always)]
fn tell_connection(o: *mut PyObject, f: impl FnOnce(*mut PyObject, &Tls) -> R<()>) -> R<Obj> {
    with_connection(o, (), f)?;
    Ok(Obj::none())
}

/// The same for what is asked for.
fn ask_connection(o: *mut PyObject, f: impl FnOnce(&Tls) -> R<Obj>) -> R<Obj> {
    with_connection(o, None, |_, s| f(s).map(Some)).map(|found| found.unwrap_or_else(Obj::none))
}

fn write(o: *mut PyObject, args: Args) -> R<Obj> {
    let data = if args.positional == 1 && !args.has_keywords() {
        args.positional()[0]
    } else {
        args.fit("write", ["data"], 1, 1)?[0]
    };
    tell_connection(o, |connection, _| writing::write(connection, data))
}

fn writelines(o: *mut PyObject, args: Args) -> R<Obj> {
    let [list] = args.fit("writelines", ["list_of_data"], 1, 1)?;
    tell_connection(o, |connection, _| writing::writelines(connection, list))
}

/// Closing a connection that is over lets go of it: a protocol that keeps its transport then keeps no SSLContext alive.
fn close(o: *mut PyObject) -> R<Obj> {
    tell_connection(o, |connection, s| {
        if !side(o).closed.replace(true) {
            return start_shutdown(connection);
        }
        if s.is_over() {
            side(o).protocol.clear();
        }
        Ok(())
    })
}

fn force_close(o: *mut PyObject, exc: &Obj) -> R<Obj> {
    side(o).closed.set(true);
    tell_connection(o, |connection, _| abort(connection, exc))
}

/// Also while the transport below closes: who drains a stream then must see it.
fn is_closing(o: *mut PyObject) -> R<Obj> {
    if side(o).closed.get() {
        return Ok(Obj::bool(true));
    }
    with_connection(o, Obj::bool(true), |_, s| match s.transport.obj() {
        Some(below) => call_named(below.as_ptr(), "is_closing", &[]),
        None => Ok(Obj::bool(false)),
    })
}

fn get_extra_info(o: *mut PyObject, args: Args) -> R<Obj> {
    let [name, default] = args.fit("get_extra_info", ["name", "default"], 2, 1)?;
    // SAFETY: null or alive.
    let default = if default.is_null() { Obj::none() } else { unsafe { Obj::borrowed(default) } };
    with_connection(o, default.clone(), |_, s| extra_info(s, name, default))
}

/// What the handshake told, else what the transport below knows.
pub fn extra_info(s: &Tls, name: *mut PyObject, default: Obj) -> R<Obj> {
    if let Some(extra) = s.extra.obj() {
        // SAFETY: a dict; the result is borrowed.
        unsafe {
            let value = ffi::PyDict_GetItemWithError(extra.as_ptr(), name);
            if !value.is_null() {
                return Ok(Obj::borrowed(value));
            }
            if !ffi::PyErr_Occurred().is_null() {
                return Err(Raised);
            }
        }
    }
    match s.transport.obj() {
        Some(below) => call_named(below.as_ptr(), "get_extra_info", &[name, default.as_ptr()]),
        None => Ok(default),
    }
}

fn set_protocol(o: *mut PyObject, args: Args) -> R<Obj> {
    let [protocol] = args.fit("set_protocol", ["protocol"], 1, 1)?;
    // SAFETY: alive.
    tell_connection(o, |_, s| s.set_app_protocol(unsafe { Obj::borrowed(protocol) }))
}

/// Asyncio's `add_flowcontrol_defaults`.
fn marks_from(args: &Args, method: &str, default_high: usize) -> R<Marks> {
    let [high, low] = args.fit(method, ["high", "low"], 2, 0)?;
    let number = |p: *mut PyObject| -> R<Option<i64>> {
        // SAFETY: comparing with None.
        if p.is_null() || p == unsafe { ffi::Py_None() } {
            return Ok(None);
        }
        // SAFETY: alive; -1 with an error for what is no integer.
        let n = unsafe { ffi::PyLong_AsLongLong(p) };
        // SAFETY: attached.
        if n == -1 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
            return Err(Raised);
        }
        Ok(Some(n))
    };
    let (high, low) = (number(high)?, number(low)?);
    let high = high.unwrap_or_else(|| low.map_or(default_high as i64, |l| l.saturating_mul(4)));
    let low = low.unwrap_or(high.div_euclid(4));
    if !(high >= low && low >= 0) {
        return Err(value_error(&format!("high ({high}) must be >= low ({low}) must be >= 0")));
    }
    Ok(Marks { low: low as usize, high: high as usize })
}

fn set_write_buffer_limits(o: *mut PyObject, args: Args) -> R<Obj> {
    let marks = marks_from(&args, "set_write_buffer_limits", WRITE_HIGH)?;
    tell_connection(o, |connection, s| {
        s.outgoing_marks.set(marks);
        control_app_writing(connection, s, buffered_len(s)?)
    })
}

fn set_read_buffer_limits(o: *mut PyObject, args: Args) -> R<Obj> {
    let marks = marks_from(&args, "set_read_buffer_limits", READ_HIGH)?;
    tell_connection(o, |_, s| {
        s.incoming_marks.set(marks);
        control_below_reading(s)
    })
}

fn limits(o: *mut PyObject, default_high: usize, which: fn(&Tls) -> &Cell<Marks>) -> R<Obj> {
    let marks = with_connection(o, marks(default_high), |_, s| Ok(which(s).get()))?;
    Obj::tuple(&[Obj::int(marks.low as i64)?.as_ptr(), Obj::int(marks.high as i64)?.as_ptr()])
}

/// `_test__append_write_backlog`: CPython's own tests fill the backlog with it, since renegotiation won't.
fn append_backlog(o: *mut PyObject, args: Args) -> R<Obj> {
    let [data] = args.fit("_test__append_write_backlog", ["data"], 1, 1)?;
    let view = crate::transport::writing::View::new(data)?;
    tell_connection(o, |_, s| {
        if !view.bytes().is_empty() {
            writing::push(s, super::engine::bytes_of(view.bytes())?, view.bytes().len());
        }
        Ok(())
    })
}

fast_method!(m_write, write);
fast_method!(m_writelines, writelines);
fast_method!(m_get_extra_info, get_extra_info);
fast_method!(m_set_protocol, set_protocol);
fast_method!(m_set_write_limits, set_write_buffer_limits);
fast_method!(m_set_read_limits, set_read_buffer_limits);
fast_method!(m_append_backlog, append_backlog);
plain_method!(m_close, close);
plain_method!(m_abort, |o| force_close(o, &Obj::none()));
plain_method!(m_is_closing, is_closing);
plain_method!(m_get_protocol, |o| ask_connection(o, |s| Ok(s.app_protocol.obj_or_none())));
plain_method!(m_is_reading, |o| with_connection(o, false, |_, s| Ok(!s.app_reading_paused.get())).map(Obj::bool));
plain_method!(m_pause_reading, |o| tell_connection(o, |_, s| {
    s.app_reading_paused.set(true);
    Ok(())
}));
plain_method!(m_resume_reading, |o| tell_connection(o, |connection, _| resume(connection)));
plain_method!(m_get_write_limits, |o| limits(o, WRITE_HIGH, |s| &s.outgoing_marks));
plain_method!(m_get_read_limits, |o| limits(o, READ_HIGH, |s| &s.incoming_marks));
plain_method!(m_get_write_size, |o| Obj::int(with_connection(o, 0, |_, s| buffered_len(s))? as i64));
plain_method!(m_get_read_size, |o| Obj::int(with_connection(o, 0, |_, s| s.engine.incoming_len())? as i64));
plain_method!(m_write_eof, |_| {
    // SAFETY: the class is always alive.
    Err(raise(unsafe { ffi::PyExc_NotImplementedError }, "TLS connections cannot be half-closed: use close()"))
});
plain_method!(m_can_write_eof, |_| Ok(Obj::bool(false)));

unsafe extern "C" fn m_force_close(o: *mut PyObject, exc: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive.
    guard(std::ptr::null_mut(), || force_close(o, &unsafe { Obj::borrowed(exc) }).map(Obj::into_ptr))
}

getter!(g_ssl_protocol, |o| Ok(side(o).protocol.obj_or_none()));
getter!(g_loop, |o| ask_connection(o, |s| Ok(s.loop_.obj_or_none())));
getter!(g_closed, |o| Ok(Obj::bool(side(o).closed.get())));
getter!(g_protocol_paused, |o| with_connection(o, false, |_, s| Ok(s.app_writing_paused.get())).map(Obj::bool));
getter!(g_start_tls, |_| Ok(Obj::bool(true)));
getter!(g_sendfile, |_| {
    let modes = attr(&import("asyncio.constants")?, "_SendfileMode")?;
    attr(&modes, "FALLBACK")
});

/// A transport that nobody closed says so; the connection below is reported by its own transport.
unsafe extern "C" fn tp_finalize(o: *mut PyObject) {
    let s = side(o);
    if !s.protocol.is_set() || s.closed.replace(true) {
        return;
    }
    let saved = take_raised();
    if warn_unclosed(o).is_err() {
        write_unraisable(o);
    }
    if let Some(saved) = saved {
        raise_object(saved);
    }
}

fn warn_unclosed(o: *mut PyObject) -> R<()> {
    let text = Obj::str(&format!("unclosed transport {}", crate::raw::globals::repr(o)))?;
    let warn = attr(&import("warnings")?, "warn")?;
    // SAFETY: ResourceWarning is alive.
    call(warn.as_ptr(), &[text.as_ptr(), unsafe { ffi::PyExc_ResourceWarning }]).map(drop)
}

pub fn make_type() -> R<*mut PyTypeObject> {
    let transports = import("asyncio.transports")?;
    // The class that asyncio's fallback for sendfile asks for; it is an asyncio.Transport.
    let base: *mut PyTypeObject = attr(&transports, "_FlowControlMixin")?.into_ptr().cast();
    let mut slots = object::lay_out::<AppSide>(base, &[])?;
    slots.push(slot(ffi::Py_tp_finalize, tp_finalize as *mut c_void));
    slots.push(slot(
        ffi::Py_tp_doc,
        c"A TLS connection over another transport; see asyncio.Transport.".as_ptr() as *mut c_void,
    ));
    let class = Definition {
        name: c"segue._core.SSLTransport",
        size: object::size::<AppSide>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC,
        slots,
        methods: methods(),
        attributes: vec![
            attribute(c"_ssl_protocol", g_ssl_protocol, None),
            attribute(c"_loop", g_loop, None),
            attribute(c"_closed", g_closed, None),
            attribute(c"_protocol_paused", g_protocol_paused, None),
            attribute(c"_start_tls_compatible", g_start_tls, None),
            attribute(c"_sendfile_compatible", g_sendfile, None),
        ],
    }
    .build(Some(base))?;
    object::set_class::<AppSide>(class);
    Ok(class)
}

fn methods() -> Vec<ffi::PyMethodDef> {
    vec![
        fast(c"write", m_write, c"write($self, data)\n--\n\nEncrypt bytes and send them: at once as far as they fit, the rest when the peer takes it.\n\nNever blocks; watch pause_writing for flow control."),
        fast(c"writelines", m_writelines, c"writelines($self, list_of_data)\n--\n\nSend several pieces, small ones together."),
        no_args(c"write_eof", m_write_eof, c"Raise NotImplementedError: TLS connections cannot be half-closed."),
        no_args(c"can_write_eof", m_can_write_eof, c"Return False."),
        no_args(c"close", m_close, c"Close the connection: what waits is sent, then close_notify; connection_lost(None) follows\nwhen the peer has answered or after ssl_shutdown_timeout."),
        no_args(c"abort", m_abort, c"Close the connection at once; what waits is dropped."),
        no_args(c"is_closing", m_is_closing, c"Return True if the transport is closing or closed."),
        no_args(c"is_reading", m_is_reading, c"Return True if the transport is receiving."),
        no_args(c"pause_reading", m_pause_reading, c"Stop receiving until resume_reading(); idempotent."),
        no_args(c"resume_reading", m_resume_reading, c"Receive again; idempotent."),
        fast(c"set_protocol", m_set_protocol, c"set_protocol($self, protocol)\n--\n\nGive what comes from now on to another protocol."),
        no_args(c"get_protocol", m_get_protocol, c"Return the current protocol."),
        fast(c"set_write_buffer_limits", m_set_write_limits, c"set_write_buffer_limits($self, high=None, low=None)\n--\n\nSet the high- and low-water marks for writing, in bytes."),
        no_args(c"get_write_buffer_limits", m_get_write_limits, c"Return (low, high), in bytes."),
        no_args(c"get_write_buffer_size", m_get_write_size, c"Return how many bytes wait to be sent."),
        fast(c"set_read_buffer_limits", m_set_read_limits, c"set_read_buffer_limits($self, high=None, low=None)\n--\n\nSet the marks at which reading from the transport below pauses and resumes, in bytes."),
        no_args(c"get_read_buffer_limits", m_get_read_limits, c"Return (low, high), in bytes."),
        no_args(c"get_read_buffer_size", m_get_read_size, c"Return how many received bytes wait to be decrypted."),
        fast(c"get_extra_info", m_get_extra_info, c"get_extra_info($self, name, default=None)\n--\n\nReturn what is known of the connection: 'ssl_object', 'peercert', 'cipher', 'compression',\n'sslcontext', and what the transport below knows."),
        one_arg(c"_force_close", m_force_close, c"Close at once, with an exception for connection_lost."),
        fast(c"_test__append_write_backlog", m_append_backlog, c"For CPython's own tests."),
    ]
}
