//! The Python type: construction, methods, attributes, slots.

use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::closing::{attach, call_connection_lost, close, fatal_error, force_close, register, unregister};
use super::reading::read_soon;
use super::state::{self, alloc, set_layout, set_type, st, Kind, State};
use super::writing;
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::raw::args::{fit_tuple_dict, text_of, Args};
use crate::raw::future::context_or_copy;
use crate::raw::globals::{attr, globals, import, Globals};
use crate::raw::heap_type::{attribute, fast, no_args, one_arg, round_up, slot, Definition};
use crate::raw::obj::{
    call, call_kw, call_method, getattr, guard, not_implemented, raise_object, runtime_error, setattr, take_raised,
    type_error, value_error, write_unraisable,
};
use crate::raw::{handle, Obj, Raised, R};
use crate::{fast_method, getter, plain_method};

pub(super) fn is_none_or_null(p: *mut PyObject) -> bool {
    // SAFETY: comparing with None.
    p.is_null() || p == unsafe { ffi::Py_None() }
}

/// `Transport(loop, sock, protocol, waiter=None, extra=None, server=None, kind="socket", context=None)`: schedules connection_made,
/// then reading, then the waiter's result, as asyncio's transports do.
fn init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> R<()> {
    let names = ["loop", "sock", "protocol", "waiter", "extra", "server", "kind", "context"];
    let [loop_, sock, protocol, waiter, extra, server, kind, context] =
        fit_tuple_dict(args, kwargs, "Transport", names, names.len(), 3)?;
    let kind = match if is_none_or_null(kind) { "socket" } else { text_of(kind)? } {
        "socket" => Kind::Socket,
        "read" => Kind::ReadPipe,
        "write" => Kind::WritePipe,
        "write device" => Kind::WriteDevice,
        other => {
            return Err(value_error(&format!(
                "kind must be 'socket', 'read', 'write' or 'write device', not '{other}'"
            )))
        }
    };
    let core = open(o, kind, loop_, sock, protocol, context)?;
    set_extra(o, sock, extra, kind)?;
    if !is_none_or_null(server) {
        // SAFETY: alive.
        st(o).server.set(unsafe { Obj::borrowed(server) });
    }
    if let Some(server) = st(o).server.obj() {
        attach(&server, o)?;
    }
    schedule_start(o, st(o), core, waiter)
}

/// What every transport begins with.
pub(super) fn open<'a>(
    o: *mut PyObject,
    kind: Kind,
    loop_: *mut PyObject,
    sock: *mut PyObject,
    protocol: *mut PyObject,
    context: *mut PyObject,
) -> R<&'a LoopCore> {
    let Some(core) = LoopCore::of(loop_) else {
        return Err(type_error("loop must be a segue.EventLoop"));
    };
    core.check_closed()?;
    core.check_process()?;
    let s = st(o);
    s.kind.set(kind);
    // SAFETY: everything is alive.
    unsafe {
        s.loop_.set(Obj::borrowed(loop_));
        s.core.set(core);
        s.sock.set(Obj::borrowed(sock));
        s.set_protocol(Obj::borrowed(protocol))?;
    }
    s.context.set(context_or_copy(context)?);
    s.protocol_connected.set(true);
    s.fd.set(fileno(sock)?);
    Ok(core)
}

fn fileno(sock: *mut PyObject) -> R<i32> {
    // SAFETY: alive; -1 with an error for what has no descriptor.
    match unsafe { ffi::PyObject_AsFileDescriptor(sock) } {
        -1 => Err(Raised),
        fd => Ok(fd),
    }
}

/// `_extra`: what the caller gave, and what the socket says of itself.
pub(super) fn set_extra(o: *mut PyObject, sock: *mut PyObject, extra: *mut PyObject, kind: Kind) -> R<()> {
    // SAFETY: new or live objects throughout.
    unsafe {
        let dict =
            if is_none_or_null(extra) { Obj::owned(ffi::PyDict_New())? } else { Obj::owned(ffi::PyDict_Copy(extra))? };
        let put = |key: &str, value: Obj| -> R<()> {
            let key = Obj::str(key)?;
            match ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) {
                0 => Ok(()),
                _ => Err(Raised),
            }
        };
        if !kind.is_pipe() {
            put("socket", call(globals().transport_socket, &[sock])?)?;
            put("sockname", address_or_none(sock, "getsockname")?)?;
            let key = Obj::name("peername")?;
            if ffi::PyDict_Contains(dict.as_ptr(), key.as_ptr()) == 0 {
                put("peername", address_or_none(sock, "getpeername")?)?;
            }
        } else {
            put("pipe", Obj::borrowed(sock))?;
        }
        setattr(o, globals().names.extra_slot, dict.as_ptr())
    }
}

/// What asyncio stores for a socket that cannot tell (not connected, closed by the peer already): None.
fn address_or_none(sock: *mut PyObject, method: &str) -> R<Obj> {
    match call_method(Obj::name(method)?.as_ptr(), &[sock]) {
        Ok(address) => Ok(address),
        // SAFETY: OSError is alive.
        Err(Raised) if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_OSError) } != 0 => {
            // SAFETY: always allowed.
            unsafe { ffi::PyErr_Clear() };
            Ok(Obj::none())
        }
        Err(e) => Err(e),
    }
}

pub(super) fn schedule_start(o: *mut PyObject, s: &State, core: &LoopCore, waiter: *mut PyObject) -> R<()> {
    let loop_ = s.loop_.obj_or_none();
    let context = s.context.obj_or_none();
    let soon = |callable: &Obj, args: &[*mut PyObject]| -> R<()> {
        let handle = handle::new(loop_.as_ptr(), callable.as_ptr(), args, context.clone())?;
        core.push(Job::Handle(handle));
        Ok(())
    };
    soon(&getattr(s.protocol.get(), globals().names.connection_made)?, &[o])?;
    soon(&getattr(o, globals().names.start_reading)?, &[])?;
    if !is_none_or_null(waiter) {
        let none = Obj::none();
        // SAFETY: alive.
        soon(&unsafe { Obj::borrowed(globals().set_result_unless_cancelled) }, &[waiter, none.as_ptr()])?;
    }
    Ok(())
}

fn start_reading(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    s.started.set(true);
    if s.kind.get() != Kind::WriteDevice || !s.outbox.borrow().is_empty() {
        register(o, s)?;
    }
    Ok(Obj::none())
}

fn is_closing(o: *mut PyObject) -> R<Obj> {
    Ok(Obj::bool(st(o).closing.get()))
}

fn m_is_reading_(o: *mut PyObject) -> R<Obj> {
    Ok(Obj::bool(st(o).is_reading()))
}

fn pause_reading(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    if matches!(s.kind.get(), Kind::WritePipe | Kind::WriteDevice) {
        return Err(not_implemented("pause_reading() on the write end of a pipe"));
    }
    if s.is_reading() {
        s.paused.set(true);
    }
    Ok(Obj::none())
}

fn resume_reading(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    if matches!(s.kind.get(), Kind::WritePipe | Kind::WriteDevice) {
        return Err(not_implemented("resume_reading() on the write end of a pipe"));
    }
    if !s.closing.get() && s.paused.replace(false) {
        read_soon(o, s);
    }
    Ok(Obj::none())
}

fn get_protocol(o: *mut PyObject) -> R<Obj> {
    Ok(st(o).protocol.obj_or_none())
}

fn set_protocol(o: *mut PyObject, args: Args) -> R<Obj> {
    let [protocol] = args.fit("set_protocol", ["protocol"], 1, 1)?;
    let s = st(o);
    // SAFETY: alive.
    s.set_protocol(unsafe { Obj::borrowed(protocol) })?;
    s.protocol_connected.set(s.sock.is_set());
    Ok(Obj::none())
}

fn write(o: *mut PyObject, args: Args) -> R<Obj> {
    let data = if args.positional == 1 && !args.has_keywords() {
        args.positional()[0]
    } else {
        args.fit("write", ["data"], 1, 1)?[0]
    };
    writing::write(o, data)?;
    Ok(Obj::none())
}

fn writelines(o: *mut PyObject, args: Args) -> R<Obj> {
    let [list] = args.fit("writelines", ["list_of_data"], 1, 1)?;
    writing::writelines(o, list)?;
    Ok(Obj::none())
}

fn limits_from(high: *mut PyObject, low: *mut PyObject) -> R<(usize, usize)> {
    let number = |p: *mut PyObject| -> R<Option<i64>> {
        if is_none_or_null(p) {
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
    let high = high.unwrap_or_else(|| low.map_or(net::outbox::DEFAULT_HIGH as i64, |l| l.saturating_mul(4)));
    let low = low.unwrap_or(high / 4);
    if !(high >= low && low >= 0) {
        return Err(value_error(&format!("high ({high}) must be >= low ({low}) must be >= 0")));
    }
    Ok((low as usize, high as usize))
}

fn set_write_buffer_limits(o: *mut PyObject, args: Args) -> R<Obj> {
    let [high, low] = args.fit("set_write_buffer_limits", ["high", "low"], 2, 0)?;
    let (low, high) = limits_from(high, low)?;
    let s = st(o);
    s.outbox.borrow_mut().set_limits(low, high);
    writing::maybe_pause(o, s)?;
    Ok(Obj::none())
}

fn get_write_buffer_limits(o: *mut PyObject) -> R<Obj> {
    let (low, high) = st(o).outbox.borrow().limits();
    Obj::tuple(&[Obj::int(low as i64)?.as_ptr(), Obj::int(high as i64)?.as_ptr()])
}

fn get_write_buffer_size(o: *mut PyObject) -> R<Obj> {
    Obj::int(st(o).outbox.borrow().len() as i64)
}

fn get_extra_info(o: *mut PyObject, args: Args) -> R<Obj> {
    let [name, default] = args.fit("get_extra_info", ["name", "default"], 2, 1)?;
    let extra = getattr(o, globals().names.extra_slot)?;
    // SAFETY: a dict; the result is borrowed.
    unsafe {
        let value = ffi::PyDict_GetItemWithError(extra.as_ptr(), name);
        if !value.is_null() {
            return Ok(Obj::borrowed(value));
        }
        if !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        Ok(if default.is_null() { Obj::none() } else { Obj::borrowed(default) })
    }
}

/// `_make_empty_waiter`: a future that is done once the outbox is empty; nothing may be written meanwhile (`sendfile`).
fn make_empty_waiter(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    if s.empty_waiter.is_set() {
        return Err(runtime_error("Empty waiter is already set"));
    }
    let create = Obj::name("create_future")?;
    let waiter = call_method(create.as_ptr(), &[s.loop_.obj_or_none().as_ptr()])?;
    s.empty_waiter.set(waiter.clone());
    if s.outbox.borrow().is_empty() {
        let none = Obj::none();
        call_method(globals().names.set_result, &[waiter.as_ptr(), none.as_ptr()])?;
    }
    Ok(waiter)
}

/// The reactor lets go of the descriptor, so that somebody else may watch it (native `sendfile`).
fn lend(o: *mut PyObject) -> R<Obj> {
    unregister(st(o));
    Ok(Obj::none())
}

fn take_back(o: *mut PyObject) -> R<Obj> {
    register(o, st(o))?;
    Ok(Obj::none())
}

fn repr(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    // SAFETY: alive.
    let class = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(o)).tp_name) }.to_string_lossy();
    let class = class.rsplit('.').next().unwrap_or_default();
    let state = if !s.sock.is_set() {
        "closed".to_owned()
    } else if s.closing.get() {
        "closing".to_owned()
    } else {
        let read = if s.paused.get() || s.at_eof.get() { "idle" } else { "polling" };
        let size = s.outbox.borrow().len();
        let write = if size > 0 { "polling" } else { "idle" };
        let open = if s.kind.get().is_pipe() { "open " } else { "" };
        format!("{open}fd={} read={read} write=<{write}, bufsize={size}>", s.fd.get())
    };
    Obj::str(&format!("<{class} {state}>"))
}

fast_method!(m_set_protocol, set_protocol);
fast_method!(m_write, write);
fast_method!(m_writelines, writelines);
fast_method!(m_set_limits, set_write_buffer_limits);
fast_method!(m_get_extra_info, get_extra_info);
plain_method!(m_start_reading, start_reading);
plain_method!(m_is_closing, is_closing);
plain_method!(m_is_reading, m_is_reading_);
plain_method!(m_pause_reading, pause_reading);
plain_method!(m_resume_reading, resume_reading);
plain_method!(m_get_protocol, get_protocol);
plain_method!(m_get_limits, get_write_buffer_limits);
plain_method!(m_get_size, get_write_buffer_size);
plain_method!(m_make_empty_waiter, make_empty_waiter);
plain_method!(m_reset_empty_waiter, |o| {
    st(o).empty_waiter.clear();
    Ok(Obj::none())
});
plain_method!(m_lend, lend);
plain_method!(m_take_back, take_back);
plain_method!(m_close, |o| close(o).map(|()| Obj::none()));
plain_method!(m_abort, |o| force_close(o, Obj::none()).map(|()| Obj::none()));
plain_method!(m_write_eof, |o| writing::write_eof(o).map(|()| Obj::none()));
plain_method!(m_can_write_eof, |_| Ok(Obj::bool(true)));

unsafe extern "C" fn m_force_close(o: *mut PyObject, exc: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive.
    guard(std::ptr::null_mut(), || force_close(o, unsafe { Obj::borrowed(exc) }).map(|()| Obj::none().into_ptr()))
}

unsafe extern "C" fn m_call_connection_lost(o: *mut PyObject, exc: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || call_connection_lost(o, exc).map(|()| Obj::none().into_ptr()))
}

fn fatal(o: *mut PyObject, args: Args) -> R<Obj> {
    let [exc, message] = args.fit("_fatal_error", ["exc", "message"], 2, 1)?;
    let text = if message.is_null() { "Fatal error on transport" } else { text_of(message)? };
    // SAFETY: alive.
    fatal_error(o, unsafe { Obj::borrowed(exc) }, text)?;
    Ok(Obj::none())
}
fast_method!(m_fatal_error, fatal);

getter!(g_sock, |o| Ok(st(o).sock.obj_or_none()));
getter!(g_fd, |o| Obj::int(st(o).fd.get().into()));
getter!(g_loop, |o| Ok(st(o).loop_.obj_or_none()));
getter!(g_protocol, |o| Ok(st(o).protocol.obj_or_none()));
getter!(g_server, |o| Ok(st(o).server.obj_or_none()));
getter!(g_closing, |o| Ok(Obj::bool(st(o).closing.get())));
getter!(g_eof, |o| Ok(Obj::bool(st(o).eof_written.get())));
getter!(g_paused, |o| Ok(Obj::bool(st(o).paused.get())));
getter!(g_lost, |o| Obj::int(st(o).lost.get().into()));
getter!(g_protocol_paused, |o| Ok(Obj::bool(st(o).outbox.borrow().is_paused())));
getter!(g_true, |_| Ok(Obj::bool(true)));
getter!(g_sendfile, |_| {
    let modes = attr(&import("asyncio.constants")?, "_SendfileMode")?;
    attr(&modes, "TRY_NATIVE")
});

// ---- slots --------------------------------------------------------------------------------------------------------

unsafe extern "C" fn tp_new(class: *mut PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || alloc(class).map(Obj::into_ptr))
}

unsafe extern "C" fn tp_init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    guard(-1, || init(o, args, kwargs).map(|()| 0))
}

unsafe extern "C" fn tp_repr(o: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || repr(o).map(Obj::into_ptr))
}

/// The base's one slot, `_extra`; None for an object whose memory is all zero there.
static mut EXTRA_OFFSET: usize = 0;

/// The instance's dict.
static mut DICT_OFFSET: usize = 0;

fn dict<'a>(o: *mut PyObject) -> &'a crate::raw::Slot {
    // SAFETY: ours, zero-initialised; the interpreter keeps a nullable pointer there.
    unsafe { &*o.cast::<u8>().add(DICT_OFFSET).cast::<crate::raw::Slot>() }
}

fn extra<'a>(o: *mut PyObject) -> &'a crate::raw::Slot {
    // SAFETY: a `__slots__` member is one nullable object pointer, which is what a Slot is.
    unsafe { &*o.cast::<u8>().add(EXTRA_OFFSET).cast::<crate::raw::Slot>() }
}

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the collector's visitor; a heap type's instances visit their type.
    unsafe {
        let mut r = visit(ffi::Py_TYPE(o).cast(), arg);
        if r == 0 {
            r = extra(o).visit(visit, arg);
        }
        if r == 0 {
            r = dict(o).visit(visit, arg);
        }
        if r == 0 {
            r = st(o).traverse(visit, arg);
        }
        r
    }
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    extra(o).clear();
    dict(o).clear();
    st(o).clear();
    0
}

/// A transport that nobody closed: says so and closes its descriptor, as asyncio's `__del__`.
unsafe extern "C" fn tp_finalize(o: *mut PyObject) {
    let s = st(o);
    if !s.sock.is_set() {
        return;
    }
    let saved = take_raised();
    if let Err(Raised) = warn_unclosed(o, s) {
        write_unraisable(o);
    }
    if let Some(saved) = saved {
        raise_object(saved);
    }
}

fn warn_unclosed(o: *mut PyObject, s: &State) -> R<()> {
    let text = format!("unclosed transport {}", crate::raw::globals::repr(o));
    let warn = attr(&import("warnings")?, "warn")?;
    let text = Obj::str(&text)?;
    let names = Obj::tuple(&[Obj::str("source")?.as_ptr()])?;
    // SAFETY: ResourceWarning is alive.
    let category = unsafe { ffi::PyExc_ResourceWarning };
    let warned = call_kw(warn.as_ptr(), &[text.as_ptr(), category, o], names.as_ptr()).map(drop);
    let raised = if warned.is_err() { take_raised() } else { None };
    unregister(s);
    if let Some(sock) = s.sock.take() {
        call_method(globals().names.close, &[sock.as_ptr()])?;
    }
    let server = s.server.take();
    if let Some(server) = server {
        super::closing::detach_quietly(&server, o);
    }
    match raised {
        Some(exc) => Err(raise_object(exc)),
        None => Ok(()),
    }
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: the C API's documented sequence; the state is dropped exactly once, here.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(o) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(o.cast());
        ffi::PyObject_ClearWeakRefs(o);
        extra(o).clear();
        dict(o).clear();
        std::ptr::drop_in_place(o.cast::<u8>().add(state::offset()).cast::<State>());
        let class = ffi::Py_TYPE(o);
        ffi::PyObject_GC_Del(o.cast());
        ffi::Py_DECREF(class.cast());
    }
}

pub fn make_type(g: &Globals) -> R<()> {
    let base = flow_control_mixin()?;
    // SAFETY: a live type; the layout is fixed before the first instance.
    let base_size = unsafe {
        EXTRA_OFFSET = handle::slot_offset(base, g.names.extra_slot)?;
        round_up((*base).tp_basicsize as usize)
    };
    // Between the base and our state: the list of weak references and the instance's dict, which asyncio's have too.
    // SAFETY: under the import lock, before the first instance exists.
    unsafe { DICT_OFFSET = base_size + 8 };
    set_layout(base_size + 16);
    let mut attributes = shared_attributes();
    attributes.extend([
        attribute(c"_eof", g_eof, None),
        attribute(c"_start_tls_compatible", g_true, None),
        attribute(c"_sendfile_compatible", g_sendfile, None),
    ]);
    let mut all = methods();
    all.extend(shared_methods());
    let name = c"segue._core.Transport";
    let doc = c"A stream transport over TCP, Unix sockets and pipes; see asyncio.Transport.";
    set_type(define(name, doc, tp_init, &[base], all, attributes)?);
    Ok(())
}

pub(super) fn flow_control_mixin() -> R<*mut PyTypeObject> {
    Ok(attr(&import("asyncio.transports")?, "_FlowControlMixin")?.into_ptr().cast())
}

/// A transport type; all have one layout.
pub(super) fn define(
    name: &'static std::ffi::CStr,
    doc: &'static std::ffi::CStr,
    init: ffi::initproc,
    bases: &[*mut PyTypeObject],
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
) -> R<*mut PyTypeObject> {
    let offset = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as isize,
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    // SAFETY: set before the first type is defined.
    let dict = unsafe { DICT_OFFSET };
    let members = Box::leak(Box::new([
        offset(c"__weaklistoffset__", dict - 8),
        offset(c"__dictoffset__", dict),
        ffi::PyMemberDef::default(),
    ]));
    Definition {
        name,
        size: state::offset() + std::mem::size_of::<State>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
        slots: vec![
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            slot(ffi::Py_tp_new, tp_new as *mut c_void),
            slot(ffi::Py_tp_init, init as *mut c_void),
            slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
            slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
            slot(ffi::Py_tp_finalize, tp_finalize as *mut c_void),
            slot(ffi::Py_tp_repr, tp_repr as *mut c_void),
            slot(ffi::Py_tp_doc, doc.as_ptr() as *mut c_void),
        ],
        methods,
        attributes,
    }
    .build_on(bases)
}

pub(super) fn shared_attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        attribute(c"_sock", g_sock, None),
        attribute(c"_sock_fd", g_fd, None),
        attribute(c"_loop", g_loop, None),
        attribute(c"_protocol", g_protocol, None),
        attribute(c"_server", g_server, None),
        attribute(c"_closing", g_closing, None),
        attribute(c"_paused", g_paused, None),
        attribute(c"_conn_lost", g_lost, None),
        attribute(c"_protocol_paused", g_protocol_paused, None),
    ]
}

/// What only streams have.
fn methods() -> Vec<ffi::PyMethodDef> {
    vec![
        fast(c"write", m_write, c"write($self, data)\n--\n\nSend bytes: at once as far as they fit, the rest when the peer takes it.\n\nNever blocks; watch pause_writing for flow control. Raises RuntimeError after write_eof()."),
        fast(c"writelines", m_writelines, c"writelines($self, list_of_data)\n--\n\nSend several pieces in one system call where possible."),
        no_args(c"write_eof", m_write_eof, c"Close the writing direction once everything is sent; reading goes on."),
        no_args(c"can_write_eof", m_can_write_eof, c"Return True: the transport supports write_eof()."),
        no_args(c"_make_empty_waiter", m_make_empty_waiter, c"For sendfile."),
        no_args(c"_reset_empty_waiter", m_reset_empty_waiter, c"For sendfile."),
        no_args(c"_lend_descriptor", m_lend, c"For sendfile: stop watching the descriptor."),
        no_args(c"_take_back_descriptor", m_take_back, c"For sendfile: watch the descriptor again."),
    ]
}

pub(super) fn shared_methods() -> Vec<ffi::PyMethodDef> {
    vec![
        no_args(c"close", m_close, c"Close the transport: what waits is still sent, then connection_lost(None) is called."),
        no_args(c"abort", m_abort, c"Close the transport at once; what waits is dropped."),
        no_args(c"is_closing", m_is_closing, c"Return True if the transport is closing or closed."),
        no_args(c"is_reading", m_is_reading, c"Return True if the transport is receiving."),
        no_args(c"pause_reading", m_pause_reading, c"Stop receiving until resume_reading(); idempotent."),
        no_args(c"resume_reading", m_resume_reading, c"Receive again; idempotent."),
        fast(c"set_protocol", m_set_protocol, c"set_protocol($self, protocol)\n--\n\nGive what comes from now on to another protocol."),
        no_args(c"get_protocol", m_get_protocol, c"Return the current protocol."),
        fast(c"set_write_buffer_limits", m_set_limits, c"set_write_buffer_limits($self, /, high=None, low=None)\n--\n\nSet the high- and low-water marks for flow control, in bytes."),
        no_args(c"get_write_buffer_limits", m_get_limits, c"Return (low, high), in bytes."),
        no_args(c"get_write_buffer_size", m_get_size, c"Return how many bytes wait to be sent."),
        fast(c"get_extra_info", m_get_extra_info, c"get_extra_info($self, name, default=None)\n--\n\nReturn what is known of the connection: 'socket', 'sockname', 'peername', 'pipe', ..."),
        no_args(c"_start_reading", m_start_reading, c"Called by the loop after connection_made."),
        one_arg(c"_force_close", m_force_close, c"Close at once, with an exception for connection_lost."),
        one_arg(c"_call_connection_lost", m_call_connection_lost, c"Called by the loop."),
        fast(c"_fatal_error", m_fatal_error, c"_fatal_error($self, exc, message='')\n--\n\nReport an error and close."),
    ]
}
