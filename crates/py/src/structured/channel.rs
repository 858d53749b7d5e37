//! `segue.open_memory_channel`: objects from tasks to tasks, through a buffer of a fixed size or none.
//!
//! | the buffer | somebody waits to receive | `send` | `receive` |
//! |---|---|---|---|
//! | empty | yes | hands over | waits |
//! | empty | no | fills it, or waits if it has no room | takes from whoever waits to send, or waits |
//! | has items | never | adds, or waits if it is full | takes the first; whoever waits to send fills up |
//!
//! Both ends can be cloned; an end is closed when all its clones are. A cancelled send or receive loses nothing.
//!
//! https://trio.readthedocs.io/en/stable/reference-core.html#using-channels-to-pass-values-between-tasks

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::{wait_of, Waiters};
use super::{errors, exception, of, raise, statistics, to_python, Exit};
use crate::job::{visit_obj, visit_raw};
use crate::raw::obj::{call, raise_object, Raised};
use crate::raw::{Obj, Slot, R};
use crate::recording;

/// What both ends share.
#[pyclass(frozen, module = "segue._core")]
struct Channel {
    items: RefCell<VecDeque<Obj>>,
    /// Infinity, or a whole number.
    room: f64,
    open_send: Cell<usize>,
    open_receive: Cell<usize>,
    /// Those that wait to send, each with its value as payload.
    senders: Waiters,
    receivers: Waiters,
    peak: Cell<usize>,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for Channel {}
// SAFETY: as above.
unsafe impl Send for Channel {}

#[pymethods]
impl Channel {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.senders.traverse(&visit)?;
        self.receivers.traverse(&visit)?;
        match self.items.try_borrow() {
            Ok(items) => items.iter().try_for_each(|o| visit_obj(&visit, o)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.items.take());
        self.senders.clear();
        self.receivers.clear();
    }
}

impl Channel {
    /// The value that `take` gives has a taker: True. `take` is called only then.
    fn try_send(&self, take: impl FnOnce() -> Obj) -> R<bool> {
        if self.open_receive.get() == 0 {
            return Err(raise(&errors()?.broken, None));
        }
        if let Some(receiver) = self.receivers.pop() {
            wait_of(&receiver).wake(take())?;
            return Ok(true);
        }
        let mut items = self.items.borrow_mut();
        if (items.len() as f64) < self.room {
            items.push_back(take());
            self.peak.set(self.peak.get().max(items.len()));
            return Ok(true);
        }
        Ok(false)
    }

    fn try_receive(&self) -> R<Option<Obj>> {
        if let Some(sender) = self.senders.pop() {
            let sender = wait_of(&sender);
            let value = sender.payload.take().unwrap_or_else(Obj::none);
            self.items.borrow_mut().push_back(value);
            sender.wake(Obj::none())?;
        }
        let first = self.items.borrow_mut().pop_front();
        if first.is_none() && self.open_send.get() == 0 {
            return Err(raise(&errors()?.end_of_channel, None));
        }
        Ok(first)
    }

    /// A receiver got this but never saw it: it is the next one's.
    fn put_back(&self, value: Obj) -> R<()> {
        if self.open_receive.get() == 0 {
            return Ok(());
        }
        match self.receivers.pop() {
            Some(receiver) => wait_of(&receiver).wake(value),
            None => {
                self.items.borrow_mut().push_front(value);
                Ok(())
            }
        }
    }

    fn report(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let number = |n: usize| Obj::int(n as i64);
        let used = number(self.items.borrow().len())?;
        let room = match self.room.is_infinite() {
            true => Obj::float(self.room)?,
            false => Obj::int(self.room as i64)?,
        };
        let (send, receive) = (number(self.open_send.get())?, number(self.open_receive.get())?);
        let (senders, receivers) = (number(self.senders.len())?, number(self.receivers.len())?);
        let peak = number(self.peak.get())?;
        let values = [&used, &room, &send, &receive, &senders, &receivers, &peak].map(Obj::as_ptr);
        statistics(py, "MemoryChannelStatistics", &values)
    }
}

/// Everybody who waits at one end (an object) fails: it was closed under them.
fn fail_at(waiters: &Waiters, end: *mut ffi::PyObject) -> R<()> {
    for wait in waiters.all() {
        let wait = wait_of(&wait);
        if wait.owner.get() == end {
            waiters.remove(wait);
            wait.fail(exception(&errors()?.closed, None)?)?;
        }
    }
    Ok(())
}

/// A reference to the channel, in an end.
struct End {
    channel: Slot,
    closed: Cell<bool>,
}

impl End {
    fn of(channel: Obj) -> End {
        let slot = Slot::default();
        slot.set(channel);
        End { channel: slot, closed: Cell::new(false) }
    }

    fn channel(&self) -> &Channel {
        // SAFETY: set by `of`; stays as long as the end does.
        unsafe { of(self.channel.get()) }
    }

    fn open_channel(&self) -> R<&Channel> {
        match self.closed.get() {
            true => Err(raise(&errors()?.closed, None)),
            false => Ok(self.channel()),
        }
    }

    /// As `Channel::try_send`, and told to a recording.
    fn try_send(&self, take: impl FnOnce() -> Obj) -> R<bool> {
        let channel = self.open_channel()?;
        let is_sent = channel.try_send(take)?;
        if is_sent {
            let items = if channel.room.is_infinite() { channel.items.borrow().len() } else { 0 };
            recording::tell_put(self.channel.get(), items);
        }
        Ok(is_sent)
    }

    /// The wait stands in the channel's queue: a recording says which channel.
    fn stands_in(&self, wait: &Wait) {
        wait.queue.set(self.channel.obj_or_none());
    }

    fn repr(&self, kind: &str, at: *mut ffi::PyObject) -> String {
        format!("<{kind} channel at {:#x}, using buffer at {:#x}>", at as usize, self.channel.get() as usize)
    }
}

// ---- sending ------------------------------------------------------------------------------------------------------

/// The end of a memory channel that objects are sent into.
#[pyclass(frozen, module = "segue", weakref)]
pub struct MemorySendChannel {
    end: End,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for MemorySendChannel {}
// SAFETY: as above.
unsafe impl Send for MemorySendChannel {}

static SEND: Operation = Operation {
    name: "MemorySendChannel.send",
    checkpoint: Checkpoint::Full,
    attempt: attempt_to_send,
    leave: |wait| sender_of(wait).end.channel().senders.remove(wait),
    abort: None,
    undo: |_, _| Ok(()),
};

fn sender_of(wait: &Wait) -> &MemorySendChannel {
    // SAFETY: made by `send`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn attempt_to_send(wait: &Wait) -> R<Option<Obj>> {
    let end = &sender_of(wait).end;
    if end.try_send(|| wait.payload.take().unwrap_or_else(Obj::none))? {
        return Ok(Some(Obj::none()));
    }
    end.stands_in(wait);
    end.channel().senders.push(wait);
    Ok(None)
}

#[pymethods]
impl MemorySendChannel {
    /// Send `value` if that needs no waiting; else WouldBlock. ClosedResourceError if this end is closed, BrokenResourceError if
    /// nobody can receive any more.
    fn send_nowait(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
        match self.end.try_send(|| Obj::from(value))? {
            true => Ok(()),
            false => Err(raise(&errors()?.would_block, None).into()),
        }
    }

    /// Send `value`, waiting while the buffer is full. A checkpoint. Cancel-safe: if a scope cancels it, nothing was sent. (A plain
    /// `Task.cancel()` that comes when somebody has the value already raises all the same.)
    fn send(slf: &Bound<'_, Self>, value: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&SEND, slf.as_ptr(), Some(Obj::from(value)))?))
    }

    /// Another object for the same end; receivers see the end of the channel when all of them are closed.
    #[pyo3(name = "clone")]
    fn duplicate(&self, py: Python<'_>) -> PyResult<Py<Self>> {
        self.end.open_channel()?;
        new_sender(py, self.end.channel.obj_or_none())
    }

    /// Close this end; tasks that wait to send here get ClosedResourceError. Closing again does nothing.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.end.closed.replace(true) {
            return Ok(());
        }
        let channel = this.end.channel();
        fail_at(&channel.senders, slf.as_ptr())?;
        channel.open_send.set(channel.open_send.get() - 1);
        if channel.open_send.get() == 0 {
            for wait in channel.receivers.take_all() {
                let wait = wait_of(&wait);
                wait.fail(end_for(wait)?)?;
            }
        }
        Ok(())
    }

    /// `close()`, and a checkpoint.
    fn aclose(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::close(slf)?;
        super::checkpoints::checkpoint(slf.py())
    }

    /// An object with the buffer's use and the number of open ends and waiting tasks.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.end.channel().report(py)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<()> {
        Self::close(slf)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        enter_now(slf.as_any())
    }

    fn __aexit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<Py<PyAny>> {
        Self::aclose(slf)
    }

    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, item: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        generic_alias(cls, item)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        slf.get().end.repr("send", slf.as_ptr())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_raw(&visit, self.end.channel.get())
    }
}

// ---- receiving ----------------------------------------------------------------------------------------------------

/// The end of a memory channel that objects are received from. `async for value in channel:` ends when all send ends are closed.
#[pyclass(frozen, module = "segue", weakref)]
pub struct MemoryReceiveChannel {
    end: End,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for MemoryReceiveChannel {}
// SAFETY: as above.
unsafe impl Send for MemoryReceiveChannel {}

static RECEIVE: Operation = Operation {
    name: "MemoryReceiveChannel.receive",
    checkpoint: Checkpoint::Full,
    attempt: attempt_to_receive,
    leave: stop_receiving,
    abort: None,
    undo: put_back,
};

/// As `receive`, for `async for`.
static NEXT: Operation = Operation {
    name: "MemoryReceiveChannel.__anext__",
    checkpoint: Checkpoint::Full,
    attempt: attempt_next,
    leave: stop_receiving,
    abort: None,
    undo: put_back,
};

fn receiver_of(wait: &Wait) -> &MemoryReceiveChannel {
    // SAFETY: made by `receive`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn attempt_to_receive(wait: &Wait) -> R<Option<Obj>> {
    let end = &receiver_of(wait).end;
    let channel = end.open_channel()?;
    let value = channel.try_receive()?;
    if value.is_none() {
        end.stands_in(wait);
        channel.receivers.push(wait);
    }
    Ok(value)
}

fn attempt_next(wait: &Wait) -> R<Option<Obj>> {
    attempt_to_receive(wait).map_err(|Raised| {
        // SAFETY: attached, with an exception raised; the classes are alive.
        unsafe {
            if errors().is_ok_and(|e| ffi::PyErr_ExceptionMatches(e.end_of_channel.as_ptr()) != 0) {
                ffi::PyErr_Clear();
                return call(ffi::PyExc_StopAsyncIteration, &[]).map_or_else(|r| r, raise_object);
            }
        }
        Raised
    })
}

/// What a receiver gets when nobody can send any more.
fn end_for(wait: &Wait) -> R<Obj> {
    if wait.is_a(&NEXT) {
        // SAFETY: the class is alive.
        return call(unsafe { ffi::PyExc_StopAsyncIteration }, &[]);
    }
    exception(&errors()?.end_of_channel, None)
}

fn stop_receiving(wait: &Wait) {
    receiver_of(wait).end.channel().receivers.remove(wait);
}

fn put_back(wait: &Wait, value: Obj) -> R<()> {
    receiver_of(wait).end.channel().put_back(value)
}

#[pymethods]
impl MemoryReceiveChannel {
    /// Receive if that needs no waiting; else WouldBlock. ClosedResourceError if this end is closed, EndOfChannel if all is
    /// received and nobody can send any more.
    fn receive_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.end.open_channel()?.try_receive()? {
            Some(value) => Ok(to_python(py, &value)),
            None => Err(raise(&errors()?.would_block, None).into()),
        }
    }

    /// Receive the next object, waiting while there is none. A checkpoint. Cancel-safe: if it is cancelled, nothing was taken.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&RECEIVE, slf.as_ptr(), None)?))
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&NEXT, slf.as_ptr(), None)?))
    }

    /// Another object for the same end. Each object that is sent is received by one of them.
    #[pyo3(name = "clone")]
    fn duplicate(&self, py: Python<'_>) -> PyResult<Py<Self>> {
        self.end.open_channel()?;
        new_receiver(py, self.end.channel.obj_or_none())
    }

    /// Close this end; tasks that wait to receive here get ClosedResourceError. When all receive ends are closed, what is in the
    /// buffer is dropped and senders get BrokenResourceError. Closing again does nothing.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.end.closed.replace(true) {
            return Ok(());
        }
        let channel = this.end.channel();
        fail_at(&channel.receivers, slf.as_ptr())?;
        channel.open_receive.set(channel.open_receive.get() - 1);
        if channel.open_receive.get() == 0 {
            for wait in channel.senders.take_all() {
                wait_of(&wait).fail(exception(&errors()?.broken, None)?)?;
            }
            drop(channel.items.take());
        }
        Ok(())
    }

    /// `close()`, and a checkpoint.
    fn aclose(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::close(slf)?;
        super::checkpoints::checkpoint(slf.py())
    }

    /// An object with the buffer's use and the number of open ends and waiting tasks.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.end.channel().report(py)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<()> {
        Self::close(slf)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        enter_now(slf.as_any())
    }

    fn __aexit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<Py<PyAny>> {
        Self::aclose(slf)
    }

    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, item: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        generic_alias(cls, item)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        slf.get().end.repr("receive", slf.as_ptr())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_raw(&visit, self.end.channel.get())
    }
}

// ---- making them --------------------------------------------------------------------------------------------------

/// `async with end:` enters without suspending.
static ENTER: Operation = Operation {
    name: "__aenter__",
    checkpoint: Checkpoint::No,
    attempt: |wait| Ok(wait.payload.take()),
    leave: |_| (),
    abort: None,
    undo: |_, _| Ok(()),
};

fn enter_now(end: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    Ok(to_python(end.py(), &wait::new(&ENTER, std::ptr::null_mut(), Some(Obj::from(end.clone())))?))
}

fn generic_alias(class: &Bound<'_, PyType>, item: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    // SAFETY: both are alive; a new reference or null with an error.
    let alias = unsafe { Obj::owned(ffi::Py_GenericAlias(class.as_ptr(), item.as_ptr()))? };
    Ok(to_python(class.py(), &alias))
}

fn new_sender(py: Python<'_>, channel: Obj) -> PyResult<Py<MemorySendChannel>> {
    let end = End::of(channel);
    end.channel().open_send.set(end.channel().open_send.get() + 1);
    Py::new(py, MemorySendChannel { end })
}

fn new_receiver(py: Python<'_>, channel: Obj) -> PyResult<Py<MemoryReceiveChannel>> {
    let end = End::of(channel);
    end.channel().open_receive.set(end.channel().open_receive.get() + 1);
    Py::new(py, MemoryReceiveChannel { end })
}

/// The two ends of a new channel. `segue.open_memory_channel` has checked the size: infinity, or a whole number.
#[pyfunction(name = "_open_channel")]
pub fn open_channel(py: Python<'_>, room: f64) -> PyResult<(Py<MemorySendChannel>, Py<MemoryReceiveChannel>)> {
    let channel = Channel {
        items: RefCell::default(),
        room,
        open_send: Cell::new(0),
        open_receive: Cell::new(0),
        senders: Waiters::default(),
        receivers: Waiters::default(),
        peak: Cell::new(0),
    };
    let channel = Obj::from(Bound::new(py, channel)?.into_any());
    Ok((new_sender(py, channel.clone())?, new_receiver(py, channel)?))
}
