//! Socket addresses between Python and the kernel, exactly as Python's `socket` module has them.
//!
//! Only what is plain is converted here: numeric IPv4 and IPv6 in tuples of the exact built-in types. For everything else
//! [`from_python`] says None, and callers let Python's socket do it (names, scopes, errors and their messages).

use std::os::raw::{c_char, c_int, c_void};

use net::Address;
use pyo3::ffi::{self, PyObject};

use crate::raw::args::text_of;
use crate::raw::{Obj, Raised, R};

/// The families whose addresses [`to_python`] knows.
pub fn is_known(family: i32) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

/// What `recvfrom` and `accept` give: `(host, port)`, `(host, port, flow, scope)`, a path, an abstract name as bytes, or
/// None for a peer without an address.
pub fn to_python(address: &Address) -> R<Obj> {
    if let Some((ip, port)) = address.as_v4() {
        let [a, b, c, d] = ip.octets();
        let host = Obj::str(&format!("{a}.{b}.{c}.{d}"))?;
        return Obj::tuple(&[host.as_ptr(), Obj::int(port.into())?.as_ptr()]);
    }
    if let Some((ip, port, flow, scope)) = address.as_v6() {
        let (port, flow, scope) = (Obj::int(port.into())?, Obj::int(flow.into())?, Obj::int(scope.into())?);
        return Obj::tuple(&[v6_text(&ip)?.as_ptr(), port.as_ptr(), flow.as_ptr(), scope.as_ptr()]);
    }
    if address.family() == libc::AF_UNIX {
        return unix_path(&address.bytes()[std::mem::size_of::<libc::sa_family_t>()..]);
    }
    Ok(Obj::none())
}

/// By the C library, since its way to write some addresses is not Rust's.
fn v6_text(ip: &[u8; 16]) -> R<Obj> {
    let mut text = [0 as c_char; INET6_ADDRSTRLEN];
    // SAFETY: sixteen bytes of address, and room for the longest text and its end.
    unsafe {
        inet_ntop(libc::AF_INET6, ip.as_ptr().cast(), text.as_mut_ptr(), text.len() as libc::socklen_t);
        Obj::owned(ffi::PyUnicode_FromString(text.as_ptr()))
    }
}

fn unix_path(path: &[u8]) -> R<Obj> {
    // SAFETY: both copy the slice.
    unsafe {
        if path.first() == Some(&0) {
            return Obj::owned(ffi::PyBytes_FromStringAndSize(path.as_ptr().cast(), path.len() as isize));
        }
        let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
        Obj::owned(ffi::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), end as isize))
    }
}

/// None for what only Python's socket can judge.
pub fn from_python(family: i32, o: *mut PyObject) -> R<Option<Address>> {
    // SAFETY: alive.
    let size = match unsafe { ffi::PyTuple_CheckExact(o) } {
        0 => return Ok(None),
        // SAFETY: a tuple.
        _ => unsafe { ffi::PyTuple_GET_SIZE(o) },
    };
    let allowed = match family {
        libc::AF_INET => 2..=2,
        libc::AF_INET6 => 2..=4,
        _ => return Ok(None),
    };
    if !allowed.contains(&size) {
        return Ok(None);
    }
    // SAFETY: within the tuple; a string is borrowed from it while the caller keeps it.
    let (host, port) = unsafe { (ffi::PyTuple_GET_ITEM(o, 0), ffi::PyTuple_GET_ITEM(o, 1)) };
    // SAFETY: alive.
    if unsafe { ffi::PyUnicode_CheckExact(host) } == 0 {
        return Ok(None);
    }
    let host = match text_of(host) {
        Ok(host) => host,
        Err(Raised) => {
            // A lone surrogate.
            // SAFETY: always allowed.
            unsafe { ffi::PyErr_Clear() };
            return Ok(None);
        }
    };
    let Some(port) = number(port, u16::MAX.into()) else { return Ok(None) };
    if family == libc::AF_INET {
        return Ok(host.parse().ok().map(|ip| Address::v4(ip, port as u16)));
    }
    let part = |i: isize, max: i64| match i < size {
        // SAFETY: within the tuple.
        true => number(unsafe { ffi::PyTuple_GET_ITEM(o, i) }, max),
        false => Some(0),
    };
    let (Some(flow), Some(scope)) = (part(2, 0xfffff), part(3, u32::MAX.into())) else { return Ok(None) };
    Ok(host.parse().ok().map(|ip| Address::v6(ip, port as u16, flow as u32, scope as u32)))
}

fn number(o: *mut PyObject, max: i64) -> Option<i64> {
    // SAFETY: alive; an exact int, so that no Python code runs.
    unsafe {
        if ffi::PyLong_CheckExact(o) == 0 {
            return None;
        }
        let mut overflow = 0;
        let n = ffi::PyLong_AsLongLongAndOverflow(o, &mut overflow);
        (overflow == 0 && (0..=max).contains(&n)).then_some(n)
    }
}

/// The longest text of an IPv6 address, with its end.
const INET6_ADDRSTRLEN: usize = 46;

unsafe extern "C" {
    fn inet_ntop(family: c_int, address: *const c_void, to: *mut c_char, size: libc::socklen_t) -> *const c_char;
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// The audit event that Python's own `sendto` raises.
pub fn audit_sendto(sock: *mut PyObject, address: *mut PyObject) -> R<()> {
    // SAFETY: C strings, and two live objects as the format says.
    match unsafe { PySys_Audit(c"socket.sendto".as_ptr(), c"OO".as_ptr(), sock, address) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}
