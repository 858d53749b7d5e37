//! The protocol side: `segue._core.TlsProtocol`, what the transport below talks to; asyncio's `SSLProtocol`.
//!
//! Our own stream transport hands it ciphertext directly (`reading::on_ciphertext`); any other calls the methods here.

use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::object;
use super::python_ssl::python_ssl;
use super::reading::{on_ciphertext, read, resume_now, wants_ciphertext};
use super::state::{tls, Tls, Told};
use super::transport::{self, extra_info};
use super::writing::below_has_room;
use super::{handshake, shutdown};
use crate::event_loop::LoopCore;
use crate::raw::args::{fit_tuple_dict, Args};
use crate::raw::globals::{attr, import, repr};
use crate::raw::heap_type::{attribute, fast, no_args, slot, Definition};
use crate::raw::obj::{call, guard, is_true, type_error, value_error};
use crate::raw::{Obj, Raised, Slot, R};
use crate::{fast_method, getter, plain_method};

const NAMES: [&str; 9] = [
    "loop",
    "app_protocol",
    "sslcontext",
    "waiter",
    "server_side",
    "server_hostname",
    "call_connection_made",
    "ssl_handshake_timeout",
    "ssl_shutdown_timeout",
];

/// `TlsProtocol(loop, app_protocol, sslcontext, waiter, ...)`, with `SSLProtocol`'s arguments and checks.
fn init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> R<()> {
    let [loop_, app, context, waiter, server_side, hostname, call_made, handshake, shutdown] =
        fit_tuple_dict(args, kwargs, "TlsProtocol", NAMES, NAMES.len(), 4)?;
    let Some(core) = LoopCore::of(loop_) else {
        return Err(type_error("loop must be a segue.EventLoop"));
    };
    let ssl = python_ssl()?;
    let s = tls(o);
    s.handshake_timeout.set(timeout(handshake, &ssl.handshake_timeout, "ssl_handshake_timeout")?);
    s.shutdown_timeout.set(timeout(shutdown, &ssl.shutdown_timeout, "ssl_shutdown_timeout")?);
    let server_side = flag(server_side, false)?;
    // SAFETY: null or alive.
    let hostname = if hostname.is_null() { Obj::none() } else { unsafe { Obj::borrowed(hostname) } };
    // SAFETY: alive.
    let mut context = unsafe { Obj::borrowed(context) };
    if !is_true(context.as_ptr())? {
        context = call(ssl.default_context, &[Obj::bool(server_side).as_ptr(), hostname.as_ptr()])?;
    }
    // An empty name, as every name on the server's side, means none.
    let hostname = if server_side || !is_true(hostname.as_ptr())? { Obj::none() } else { hostname };
    s.engine.open(&context, server_side, &hostname)?;
    // SAFETY: a new dict.
    s.extra.set(unsafe { Obj::owned(ffi::PyDict_New())? });
    s.put_extra("sslcontext", &context)?;
    s.context.set(context);
    s.told.set(if flag(call_made, true)? { Told::Nothing } else { Told::ConnectionMade });
    // SAFETY: everything is alive.
    unsafe {
        s.loop_.set(Obj::borrowed(loop_));
        s.set_core(core);
        if waiter != ffi::Py_None() {
            s.waiter.set(Obj::borrowed(waiter));
        }
        s.set_app_protocol(Obj::borrowed(app))?;
    }
    s.app_transport.set(transport::new(o)?);
    Ok(())
}

/// Truth of an argument that may be missing.
fn flag(p: *mut PyObject, default: bool) -> R<bool> {
    if p.is_null() {
        return Ok(default);
    }
    is_true(p)
}

/// A number of seconds above 0, or asyncio's default.
fn timeout(given: *mut PyObject, default: &Obj, name: &str) -> R<Obj> {
    // SAFETY: comparing with None.
    if given.is_null() || given == unsafe { ffi::Py_None() } {
        return Ok(default.clone());
    }
    let zero = Obj::int(0)?;
    // SAFETY: alive; -1 with an error for what can't be compared.
    match unsafe { ffi::PyObject_RichCompareBool(given, zero.as_ptr(), ffi::Py_LE) } {
        // SAFETY: alive.
        0 => Ok(unsafe { Obj::borrowed(given) }),
        1 => Err(value_error(&format!("{name} should be a positive number, got {}", repr(given)))),
        _ => Err(Raised),
    }
}

fn connection_made(o: *mut PyObject, below: *mut PyObject) -> R<()> {
    let s = tls(o);
    // SAFETY: alive; comparing types.
    s.transport_is_ours.set(unsafe { ffi::Py_TYPE(below) } == crate::transport::state::class());
    // SAFETY: alive.
    s.transport.set(unsafe { Obj::borrowed(below) });
    handshake::start(o)
}

fn data_received(o: *mut PyObject, data: *mut PyObject) -> R<()> {
    let s = tls(o);
    if wants_ciphertext(s) {
        s.engine.feed_object(data)?;
    }
    on_ciphertext(o)
}

/// Ciphertext that somebody else received before connection_made.
fn feed_early(o: *mut PyObject, data: *mut PyObject) -> R<()> {
    tls(o).engine.feed_object(data)
}

fn get_extra_info(o: *mut PyObject, args: Args) -> R<Obj> {
    let [name, default] = args.fit("_get_extra_info", ["name", "default"], 2, 1)?;
    // SAFETY: null or alive.
    let default = if default.is_null() { Obj::none() } else { unsafe { Obj::borrowed(default) } };
    extra_info(tls(o), name, default)
}

/// A method with one argument, `fn(*mut PyObject, *mut PyObject) -> R<()>`.
macro_rules! one {
    ($wrapper:ident, $method:literal, $argument:literal, $inner:expr) => {
        fast_method!($wrapper, |o, args| {
            let [value] = args.fit($method, [$argument], 1, 1)?;
            let inner: fn(*mut PyObject, *mut PyObject) -> R<()> = $inner;
            inner(o, value).map(|()| Obj::none())
        });
    };
}

one!(m_connection_made, "connection_made", "transport", connection_made);
one!(m_connection_lost, "connection_lost", "exc", shutdown::connection_lost);
one!(m_data_received, "data_received", "data", data_received);
one!(m_feed_early, "_feed_early", "data", feed_early);
fast_method!(m_get_extra_info, get_extra_info);
plain_method!(m_eof_received, |o| shutdown::eof_from_below(o).map(Obj::bool));
plain_method!(m_pause_writing, |o| {
    tls(o).below_is_full.set(true);
    Ok(Obj::none())
});
plain_method!(m_resume_writing, |o| below_has_room(o).map(|()| Obj::none()));
plain_method!(m_do_read, |o| read(o).map(|()| Obj::none()));
plain_method!(m_resume_reading_now, |o| resume_now(o).map(|()| Obj::none()));
plain_method!(m_check_handshake, |o| handshake::timed_out(o).map(|()| Obj::none()));
plain_method!(m_check_shutdown, |o| shutdown::timed_out(o).map(|()| Obj::none()));

/// A getter of one slot, None where it is empty.
macro_rules! slot_getter {
    ($wrapper:ident, $slot:expr) => {
        getter!($wrapper, |o| {
            let slot: fn(&Tls) -> &Slot = $slot;
            Ok(slot(tls(o)).obj_or_none())
        });
    };
}
slot_getter!(g_app_transport, |s| &s.app_transport);
slot_getter!(g_app_protocol, |s| &s.app_protocol);
slot_getter!(g_transport, |s| &s.transport);
slot_getter!(g_loop, |s| &s.loop_);
slot_getter!(g_sslcontext, |s| &s.context);
slot_getter!(g_sslobj, |s| &s.engine.object);
slot_getter!(g_extra, |s| &s.extra);
getter!(g_reading_paused, |o| Ok(Obj::bool(tls(o).app_reading_paused.get())));
getter!(g_is_direct, |o| Ok(Obj::bool(tls(o).engine.is_direct())));

unsafe extern "C" fn tp_init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    guard(-1, || init(o, args, kwargs).map(|()| 0))
}

pub fn make_type() -> R<*mut PyTypeObject> {
    // Not a BufferedProtocol: our transport needs no buffer of ours, and others need none per connection.
    let base: *mut PyTypeObject = attr(&import("asyncio.protocols")?, "Protocol")?.into_ptr().cast();
    let mut slots = object::lay_out::<Tls>(base, &[])?;
    slots.push(slot(ffi::Py_tp_init, tp_init as *mut c_void));
    slots.push(slot(
        ffi::Py_tp_doc,
        c"The TLS connection between a transport and an application's protocol; made by the loop.".as_ptr()
            as *mut c_void,
    ));
    let class = Definition {
        name: c"segue._core.TlsProtocol",
        size: object::size::<Tls>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC,
        slots,
        methods: vec![
            fast(
                c"connection_made",
                m_connection_made,
                c"connection_made($self, transport)\n--\n\nBegin the handshake over this transport.",
            ),
            fast(
                c"connection_lost",
                m_connection_lost,
                c"connection_lost($self, exc)\n--\n\nThe transport below is closed.",
            ),
            fast(c"data_received", m_data_received, c"data_received($self, data)\n--\n\nCiphertext came."),
            no_args(c"eof_received", m_eof_received, c"The peer closed the connection below."),
            no_args(c"pause_writing", m_pause_writing, c"The transport below is full."),
            no_args(c"resume_writing", m_resume_writing, c"The transport below takes more."),
            fast(c"_feed_early", m_feed_early, c"Called by the loop."),
            no_args(c"_do_read", m_do_read, c"Called by the loop."),
            no_args(c"_resume_reading_now", m_resume_reading_now, c"Called by the loop."),
            no_args(c"_check_handshake_timeout", m_check_handshake, c"Called by the loop."),
            no_args(c"_check_shutdown_timeout", m_check_shutdown, c"Called by the loop."),
            fast(c"_get_extra_info", m_get_extra_info, c"What the transport's get_extra_info returns."),
        ],
        attributes: vec![
            attribute(c"_app_transport", g_app_transport, None),
            attribute(c"_app_protocol", g_app_protocol, None),
            attribute(c"_transport", g_transport, None),
            attribute(c"_loop", g_loop, None),
            attribute(c"_sslcontext", g_sslcontext, None),
            attribute(c"_sslobj", g_sslobj, None),
            attribute(c"_extra", g_extra, None),
            attribute(c"_app_reading_paused", g_reading_paused, None),
            attribute(c"_is_direct", g_is_direct, None),
        ],
    }
    .build(Some(base))?;
    object::set_class::<Tls>(class);
    Ok(class)
}
