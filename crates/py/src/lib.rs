//! Segue for Python: `segue._core`. The only crate that names pyo3.
//!
//! | part | what it is |
//! |---|---|
//! | [`event_loop`] | the loop's Rust side: turns, waiting, watched descriptors |
//! | [`loop_methods`] | its hot methods: call_soon, call_later, create_task, create_future |
//! | [`overrides`] | a program's own `time`, `call_soon`, `call_at` on a loop |
//! | [`io`] | which object or handle a ready descriptor belongs to |
//! | [`waiting`] | waiting for the outside world |
//! | [`job`], [`run_job`] | what the ready queue holds, and running it |
//! | [`listener`] | accepting connections |
//! | [`sock_ops`] | `sock_recv` and its like |
//! | [`address`], [`socket_object`], [`watched`] | socket addresses, Python's sockets, and which descriptors users watch |
//! | [`raw`] | the hand-built types: Future, Task, Handle |
//! | [`transport`] | the stream transport |
//! | [`scope`], [`await_site`] | cancel scopes on tasks: delivery, and where a task is suspended |
//! | [`cancel_scope`], [`catching`] | CancelScope, and what it catches |
//! | [`cancellation`] | why a task was cancelled |
//! | [`tls`] | TLS over any transport |
//! | [`recorder`], [`places`], [`failure`] | the event record, and the words it is kept in |
//! | [`places_for_tests`] | the same for tests |
//! | [`progress`] | how far a loop is, for other threads |
//! | [`read_buffer`], [`fork`], [`watchdog`] | what their names say |

mod address;
mod await_site;
mod cancel_scope;
mod cancellation;
mod catching;
mod event_loop;
mod failure;
mod fork;
mod io;
mod job;
mod listener;
mod loop_methods;
mod overrides;
mod places;
mod places_for_tests;
mod progress;
mod raw;
mod read_buffer;
mod recorder;
mod recording;
mod run_job;
mod scope;
mod site;
mod sock_ops;
mod socket_object;
mod structured;
mod tls;
mod transport;
mod waiting;
mod watchdog;
mod watched;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    fork::watch();
    m.add_class::<event_loop::LoopCore>()?;
    m.add_class::<listener::Listener>()?;
    let loop_type: *mut pyo3::ffi::PyTypeObject = m.getattr("LoopCore")?.into_ptr().cast();
    raw::globals::init(loop_type)?;
    loop_methods::add_to(loop_type)?;
    let g = raw::globals::globals();
    let (tls_protocol, tls_transport) = tls::make_types()?;
    for (name, class) in [
        ("Future", g.future_type),
        ("Task", g.task_type),
        ("Handle", g.handle_type),
        ("TimerHandle", g.timer_type),
        ("Transport", transport::state::class()),
        ("DatagramTransport", transport::state::datagram_class()),
        ("TlsProtocol", tls_protocol),
        ("SSLTransport", tls_transport),
    ] {
        // SAFETY: types that live as long as the process.
        m.add(name, unsafe { Bound::from_borrowed_ptr(m.py(), class.cast()) })?;
    }
    m.add_function(wrap_pyfunction!(take_unlisted_tasks, m)?)?;
    m.add_class::<recorder::TaskLog>()?;
    recording::session::add_to(m)?;
    m.add_function(wrap_pyfunction!(recorder::record_every_loop, m)?)?;
    m.add_function(wrap_pyfunction!(places_for_tests::frames, m)?)?;
    m.add_class::<places_for_tests::PlacesForTests>()?;
    m.add_function(wrap_pyfunction!(failure::when_a_task_fails, m)?)?;
    m.add_function(wrap_pyfunction!(failure::cancelled_with, m)?)?;
    m.add_class::<cancel_scope::CancelScope>()?;
    m.add_class::<cancellation::Cancellation>()?;
    structured::add_to(m)?;
    m.add_function(wrap_pyfunction!(cancellation::cancellation, m)?)?;
    m.add_function(wrap_pyfunction!(cancel_scope::current_time, m)?)?;
    m.add_function(wrap_pyfunction!(cancel_scope::current_effective_deadline, m)?)?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))
}

/// The tasks that asyncio's WeakSet does not list yet; they are its from now on. For `segue._task_refs`.
#[pyfunction(name = "_take_unlisted_tasks")]
fn take_unlisted_tasks(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(raw::registry::take_unlisted()?.bound(py).unbind())
}
