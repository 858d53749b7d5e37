//! TLS for asyncio's APIs: any `ssl.SSLContext`, its connections driven from Rust. What asyncio's `sslproto` does, with
//! its rules; `create_connection`, `create_server` and `start_tls` come here.
//!
//! Bytes from the transport below go through the connection's incoming BIO to the application's protocol; what the
//! application writes goes through the outgoing BIO to the transport below, all within one turn.
//!
//! | phase | after | ciphertext that comes | what the application writes |
//! |---|---|---|---|
//! | Unwrapped | made, aborted, lost | is ignored | is dropped, counted in `lost` |
//! | Handshake | connection_made from below | goes on with the handshake | waits in the backlog |
//! | Wrapped | the handshake | becomes data_received | is encrypted and sent |
//! | Flushing | close(), close_notify or EOF from below | becomes data_received | is dropped |
//! | Shutdown | everything is sent | is searched for close_notify | is dropped |
//!
//! Rule 1: the application sees connection_made, data_received, at most one eof_received, connection_lost, in this order.
//! Rule 2: a connection is never half-closed: EOF or close_notify from the peer closes it.
//! Rule 3: no buffer is lent or borrowed while the application is called.
//! Rule 4: what the application writes while it is called with data is sent when it returns, or before it aborts.
//!
//! | part | what it does |
//! |---|---|
//! | [`engine`] | bytes in, bytes out, through OpenSSL directly or Python's objects |
//! | [`openssl`] | OpenSSL's functions, found behind Python's `_ssl` |
//! | [`python_ssl`] | what is needed from Python's `ssl` |
//! | [`buffers`] | the loop's buffers |
//! | [`state`], [`object`] | the fields; their place in Python objects |
//! | [`handshake`], [`reading`], [`writing`], [`shutdown`] | the flows |
//! | [`errors`], [`calls`] | who is told; what is asked of the loop |
//! | [`protocol`], [`transport`] | the two Python types |

pub mod buffers;
mod calls;
mod engine;
mod errors;
mod handshake;
mod object;
mod openssl;
mod protocol;
mod python_ssl;
mod reading;
mod shutdown;
mod state;
mod transport;
mod writing;

use pyo3::ffi::{PyObject, PyTypeObject};

use crate::raw::R;

/// `(TlsProtocol, SSLTransport)`. Called once, by the module's init.
pub fn make_types() -> R<(*mut PyTypeObject, *mut PyTypeObject)> {
    Ok((protocol::make_type()?, transport::make_type()?))
}

/// Whether a protocol is a TLS connection, to which ciphertext can be given directly.
pub fn is_connection(protocol: *mut PyObject) -> bool {
    object::is_instance::<state::Tls>(protocol)
}

/// Where a connection is in its life.
#[inline]
pub fn phase(connection: *mut PyObject) -> state::Phase {
    state::tls(connection).phase.get()
}

/// Gives ciphertext to a connection (see [`is_connection`]) without calling Python. What it returns is for [`process`].
#[inline]
pub fn feed(connection: *mut PyObject, data: &[u8]) -> R<Option<crate::raw::Obj>> {
    let s = state::tls(connection);
    if !reading::wants_ciphertext(s) {
        return Ok(None);
    }
    s.engine.feed(data)
}

/// Goes on with what was fed.
#[inline]
pub fn process(connection: *mut PyObject, fed: Option<crate::raw::Obj>) -> R<()> {
    if let Some(data) = fed {
        state::tls(connection).engine.feed_object(data.as_ptr())?;
    }
    reading::on_ciphertext(connection)
}
