//! The Python type of datagram transports: what it has beside `methods`.

use std::os::raw::c_int;

use pyo3::ffi::{self, PyObject};

use super::datagram_state::Datagrams;
use super::datagrams::{read_ready, sendto, sendto_ready};
use super::methods::{
    define, flow_control_mixin, is_none_or_null, open, schedule_start, set_extra, shared_attributes, shared_methods,
};
use super::state::{set_datagram_type, st, Kind};
use crate::raw::args::{fit_tuple_dict, Args};
use crate::raw::globals::{attr, globals, import};
use crate::raw::heap_type::{attribute, fast, no_args};
use crate::raw::obj::{getattr, guard, is_true};
use crate::raw::{Obj, Raised, R};
use crate::{fast_method, getter, plain_method};

/// `DatagramTransport(loop, sock, protocol, address=None, waiter=None, extra=None)`, as asyncio's. The socket is a plain
/// one of a family that `crate::address` knows, and not blocking.
fn init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> R<()> {
    let names = ["loop", "sock", "protocol", "address", "waiter", "extra"];
    let [loop_, sock, protocol, address, waiter, extra] =
        fit_tuple_dict(args, kwargs, "DatagramTransport", names, names.len(), 3)?;
    let s = st(o);
    let core = open(o, Kind::Datagrams, loop_, sock, protocol, std::ptr::null_mut())?;
    set_extra(o, sock, extra, Kind::Datagrams)?;
    let d = s.datagrams.get_or_init(Box::<Datagrams>::default);
    if !is_none_or_null(address) && is_true(address)? {
        // SAFETY: alive.
        d.remote.set(unsafe { Obj::borrowed(address) });
    }
    let extra = getattr(o, globals().names.extra_slot)?;
    let key = Obj::name("peername")?;
    // SAFETY: a dict; the result is borrowed.
    let peer = unsafe { ffi::PyDict_GetItemWithError(extra.as_ptr(), key.as_ptr()) };
    d.connected.set(!peer.is_null() && is_true(peer)?);
    let family = getattr(sock, Obj::name("family")?.as_ptr())?;
    // SAFETY: alive; -1 with an error for what is no integer.
    let family = unsafe { ffi::PyLong_AsLong(family.as_ptr()) };
    // SAFETY: attached.
    if family == -1 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    d.family.set(family as c_int);
    schedule_start(o, s, core, waiter)
}

unsafe extern "C" fn tp_init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    guard(-1, || init(o, args, kwargs).map(|()| 0))
}

fn sendto_method(o: *mut PyObject, args: Args) -> R<Obj> {
    let [data, to] = args.fit("sendto", ["data", "addr"], 2, 1)?;
    sendto(o, data, to)?;
    Ok(Obj::none())
}

fast_method!(m_sendto, sendto_method);
plain_method!(m_read_ready, |o| read_ready(o).map(|()| Obj::none()));
plain_method!(m_sendto_ready, |o| sendto_ready(o).map(|()| Obj::none()));
getter!(g_address, |o| Ok(st(o).datagrams.get().map_or_else(Obj::none, |d| d.remote.obj_or_none())));
getter!(g_buffer_size, |o| Obj::int(st(o).outbox.borrow().len() as i64));

pub fn make_type() -> R<()> {
    let datagram_transport = attr(&import("asyncio.transports")?, "DatagramTransport")?;
    let mut methods = shared_methods();
    methods.extend([
        fast(c"sendto", m_sendto, c"sendto($self, /, data, addr=None)\n--\n\nSend a datagram: at once if it fits, else when there is room.\n\nNever blocks; watch pause_writing for flow control. Errors of the network go to error_received()."),
        no_args(c"_read_ready", m_read_ready, c"Receives what is there."),
        no_args(c"_sendto_ready", m_sendto_ready, c"Sends what waits."),
    ]);
    let mut attributes = shared_attributes();
    attributes.extend([attribute(c"_address", g_address, None), attribute(c"_buffer_size", g_buffer_size, None)]);
    let class = define(
        c"segue._core.DatagramTransport",
        c"Datagrams over UDP and Unix sockets; see asyncio.DatagramTransport.",
        tp_init,
        &[flow_control_mixin()?, datagram_transport.into_ptr().cast()],
        methods,
        attributes,
    )?;
    set_datagram_type(class);
    Ok(())
}
