//! Future: a heap subtype of the C `asyncio.Future` that overrides every slot and method.
//!
//! | state | result | exception | what may happen |
//! |---|---|---|---|
//! | PENDING | - | - | set_result, set_exception, cancel, add and remove callbacks |
//! | FINISHED | one of the two | | result, exception |
//! | CANCELLED | - | - | result and exception raise CancelledError |
//!
//! Rule 1: the C base struct stays zeroed; its dealloc, traverse and clear see nothing of ours and run last.
//! Rule 2: a task that waits is a callback without a context; it is woken through the loop's ready queue directly.
//! Rule 3: on a loop that isn't ours everything goes through `loop.call_soon`, exactly as in asyncio.
//!
//! Task builds on this state (`task.rs`); the same methods serve both, since both keep it at the same offset.
//! One file since the state, its methods and the type's tables make sense only together.

use std::cell::Cell;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::args::{fit_tuple_dict, Args};
use super::globals::{globals, Globals};
use super::heap_type::{attribute, class_method, fast, no_args, one_arg, round_up, slot, Definition};
use super::obj::{
    attribute_error, call, call_kw, call_method_kw, getattr, getattr_opt, is_instance, is_true, raise, raise_object,
    runtime_error, take_raised, type_error, value_error, write_unraisable, Raised,
};
use super::{Obj, Slot, R};
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::structured::wait;
use crate::{fast_method, getter, plain_method, setter};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    Pending = 0,
    Cancelled = 1,
    Finished = 2,
}

/// A callback and its context; without a context it is a task to wake.
pub struct Callback {
    pub call: Obj,
    pub context: Option<Obj>,
}

/// All-zero memory is a future that was never initialised.
pub struct FutureState {
    pub loop_: Slot,
    /// The loop's Rust side if the loop is ours; kept alive by `loop_`.
    pub core: Cell<*const LoopCore>,
    first: Slot,
    /// Null with `first` set: `first` is a task.
    first_context: Slot,
    /// Boxed, since a null box is none and all-zero memory must be valid; a Vec's zeros are not.
    #[allow(clippy::box_collection)]
    more: Cell<Option<Box<Vec<Callback>>>>,
    pub result: Slot,
    pub exception: Slot,
    exception_tb: Slot,
    pub cancel_message: Slot,
    pub cancelled_exc: Slot,
    pub source_traceback: Slot,
    pub state: Cell<State>,
    pub blocking: Cell<bool>,
    pub log_traceback: Cell<bool>,
}

/// Where our state begins in a Future or Task: behind the larger of the two C structs.
static mut OFFSET: usize = 0;

/// # Safety
/// `o` is an instance of our Future or Task.
#[inline(always)]
pub unsafe fn state<'a>(o: *mut PyObject) -> &'a FutureState {
    // SAFETY: OFFSET was set before the first instance existed; the memory there is ours and zero-initialised.
    unsafe { &*(o.cast::<u8>().add(OFFSET).cast::<FutureState>()) }
}

pub fn offset() -> usize {
    // SAFETY: written once, while the module is imported.
    unsafe { OFFSET }
}

/// Whether `o` is our Future or Task (or a subclass).
#[inline(always)]
pub fn is_ours(o: *mut PyObject) -> bool {
    let g = globals();
    // SAFETY: alive.
    unsafe {
        let t = ffi::Py_TYPE(o);
        t == g.future_type
            || t == g.task_type
            || ffi::PyType_IsSubtype(t, g.future_type) != 0
            || ffi::PyType_IsSubtype(t, g.task_type) != 0
    }
}

pub fn is_task(o: *mut PyObject) -> bool {
    let t = globals().task_type;
    // SAFETY: alive.
    unsafe { ffi::Py_TYPE(o) == t || ffi::PyType_IsSubtype(ffi::Py_TYPE(o), t) != 0 }
}

impl FutureState {
    pub fn is_done(&self) -> bool {
        self.state.get() != State::Pending
    }

    /// Our loop's Rust side, if the loop is ours.
    #[inline(always)]
    pub fn core(&self) -> Option<&LoopCore> {
        // SAFETY: set together with `loop_`, which keeps it alive.
        unsafe { self.core.get().as_ref() }
    }

    pub fn check_alive(&self) -> R<()> {
        if self.loop_.is_set() {
            Ok(())
        } else {
            Err(runtime_error("Future object is not initialized."))
        }
    }

    /// As `check_alive`, with the error that asking for an outcome gives.
    fn check_has_loop(&self) -> R<()> {
        if self.loop_.is_set() {
            return Ok(());
        }
        Err(raise(globals().invalid_state_error, "Future object is not initialized."))
    }

    fn check_pending(&self) -> R<()> {
        if self.is_done() {
            return Err(raise(globals().invalid_state_error, "invalid state"));
        }
        Ok(())
    }

    /// Binds to a loop (borrowed). Nothing else in the state changes.
    pub fn bind(&self, loop_: Obj) {
        self.core.set(LoopCore::of(loop_.as_ptr()).map_or(std::ptr::null(), |c| c as *const _));
        self.loop_.set(loop_);
    }

    fn push_callback(&self, callback: Callback) {
        if !self.first.is_set() {
            self.first.set(callback.call);
            drop(self.first_context.replace(callback.context));
            return;
        }
        let mut more = self.more.take().unwrap_or_default();
        more.push(callback);
        self.more.set(Some(more));
    }

    #[allow(clippy::box_collection)]
    fn take_callbacks(&self) -> (Option<Callback>, Option<Box<Vec<Callback>>>) {
        let first = self.first.take().map(|call| Callback { call, context: self.first_context.take() });
        (first, self.more.take())
    }

    /// A new exception for a cancelled future; the one that ended it, once, if there is one.
    pub fn make_cancelled_error(&self) -> R<Obj> {
        if let Some(exc) = self.cancelled_exc.take() {
            return Ok(exc);
        }
        let g = globals();
        match self.cancel_message.obj() {
            Some(message) if !message.is_none() => call(g.cancelled_error, &[message.as_ptr()]),
            _ => call(g.cancelled_error, &[]),
        }
    }

    /// The result, or `Err` with the exception raised.
    pub fn result(&self) -> R<Obj> {
        self.check_has_loop()?;
        match self.state.get() {
            State::Finished => match self.take_exception_to_raise() {
                Some(exc) => Err(raise_object(exc)),
                None => Ok(self.result.obj_or_none()),
            },
            State::Cancelled => Err(raise_object(self.make_cancelled_error()?)),
            State::Pending => Err(raise(globals().invalid_state_error, "Result is not set.")),
        }
    }

    /// The exception with the traceback it had when it was set; marks it as retrieved.
    pub fn take_exception_to_raise(&self) -> Option<Obj> {
        self.log_traceback.set(false);
        let exc = self.exception.obj()?;
        // Every time anew, so that the traceback doesn't grow with each await.
        let tb = self.exception_tb.obj_or_none();
        // SAFETY: both alive; a traceback or None is always accepted.
        unsafe { ffi::PyException_SetTraceback(exc.as_ptr(), tb.as_ptr()) };
        Some(exc)
    }

    /// # Safety
    /// The collector's visitor.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        let slots = [
            &self.loop_,
            &self.first,
            &self.first_context,
            &self.result,
            &self.exception,
            &self.exception_tb,
            &self.cancel_message,
            &self.cancelled_exc,
            &self.source_traceback,
        ];
        for s in slots {
            // SAFETY: passed on.
            let r = unsafe { s.visit(visit, arg) };
            if r != 0 {
                return r;
            }
        }
        // SAFETY: the collector's visitor changes nothing of ours meanwhile. Looked at only: few futures have more than one, and the
        // collector comes often.
        let Some(more) = (unsafe { &*self.more.as_ptr() }) else { return 0 };
        for c in more.iter() {
            // SAFETY: passed on; both are alive.
            let r = unsafe {
                match (visit(c.call.as_ptr(), arg), &c.context) {
                    (0, Some(context)) => visit(context.as_ptr(), arg),
                    (r, _) => r,
                }
            };
            if r != 0 {
                return r;
            }
        }
        0
    }

    /// Empties everything; what was there is dropped only after the object is consistent again.
    pub fn clear(&self) {
        self.core.set(std::ptr::null());
        let callbacks = self.take_callbacks();
        let old = [
            self.loop_.take(),
            self.result.take(),
            self.exception.take(),
            self.exception_tb.take(),
            self.cancel_message.take(),
            self.cancelled_exc.take(),
            self.source_traceback.take(),
        ];
        drop(callbacks);
        drop(old);
    }
}

/// Sets up a fresh future on a loop (null or None: the current one), with its creation site in debug mode.
pub fn init(o: *mut PyObject, loop_: *mut PyObject) -> R<()> {
    // SAFETY: `o` is ours.
    let s = unsafe { state(o) };
    if cfg!(Py_3_15) && s.loop_.is_set() {
        // SAFETY: alive.
        let class = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(o)).tp_name) }.to_string_lossy();
        let class = class.rsplit('.').next().unwrap_or_default();
        return Err(runtime_error(&format!("{class} object is already initialized")));
    }
    // SAFETY: comparing with None; the pointer is null or alive.
    let loop_ = unsafe {
        if loop_.is_null() || loop_ == ffi::Py_None() {
            call(globals().get_event_loop, &[])?
        } else {
            Obj::borrowed(loop_)
        }
    };
    s.clear();
    s.state.set(State::Pending);
    s.blocking.set(false);
    s.log_traceback.set(false);
    s.bind(loop_);
    if is_debug(s)? {
        s.source_traceback.set(call(globals().extract_stack, &[])?);
    }
    Ok(())
}

pub fn is_debug(s: &FutureState) -> R<bool> {
    if let Some(core) = s.core() {
        return Ok(core.debug.get());
    }
    let answer = super::obj::call_method(globals().names.get_debug, &[s.loop_.get()])?;
    is_true(answer.as_ptr())
}

/// A pending future on one of our loops, without going through `tp_new` and `tp_init`.
pub fn new_on(core: &LoopCore, loop_: *mut PyObject) -> R<Obj> {
    let g = globals();
    // SAFETY: PyType_GenericAlloc gives zeroed memory, our valid initial state.
    let o = unsafe { Obj::owned(ffi::PyType_GenericAlloc(g.future_type, 0))? };
    // SAFETY: just made.
    let s = unsafe { state(o.as_ptr()) };
    s.core.set(core);
    // SAFETY: the loop is alive.
    s.loop_.set(unsafe { Obj::borrowed(loop_) });
    if core.debug.get() {
        s.source_traceback.set(call(g.extract_stack, &[])?);
    }
    Ok(o)
}

/// `loop.call_soon(callback, future, context=context)`, by the shortest way.
fn call_soon(o: *mut PyObject, s: &FutureState, callback: Callback) -> R<()> {
    let g = globals();
    if let Some(core) = s.core() {
        if !core.is_closed() && !core.through_call_soon.get() {
            // SAFETY: `o` is alive.
            let future = unsafe { Obj::borrowed(o) };
            match callback.context {
                None => core.wake(callback.call, future),
                Some(context) => core.push(Job::Callback { call: callback.call, future, context }),
            }
            return Ok(());
        }
    }
    let (call, context) = match callback.context {
        Some(context) => (callback.call, context),
        None => {
            // SAFETY: a callback without a context is a task of ours.
            let context = unsafe { super::task::state(callback.call.as_ptr()) }.context.obj_or_none();
            (super::task::wakeup_callable(callback.call.as_ptr())?, context)
        }
    };
    let args = [s.loop_.get(), call.as_ptr(), o, context.as_ptr()];
    call_method_kw(g.names.call_soon, &args, g.kw_context).map(drop)
}

/// The future is done: everybody who waits is called soon, in the order in which they came.
pub fn schedule_callbacks(o: *mut PyObject) -> R<()> {
    // SAFETY: `o` is ours and alive.
    let s = unsafe { state(o) };
    let (first, more) = s.take_callbacks();
    if let Some(callback) = first {
        call_soon(o, s, callback)?;
    }
    for callback in more.into_iter().flat_map(|m| m.into_iter()) {
        call_soon(o, s, callback)?;
    }
    Ok(())
}

/// Wakes `task` when the future is done. The loop is one of ours and the future is pending or done.
pub fn add_waiter(o: *mut PyObject, task: Obj) -> R<()> {
    // SAFETY: `o` is ours.
    let s = unsafe { state(o) };
    let callback = Callback { call: task, context: None };
    if s.is_done() {
        return call_soon(o, s, callback);
    }
    s.push_callback(callback);
    Ok(())
}

pub fn set_result_on(o: *mut PyObject, value: Obj) -> R<()> {
    // SAFETY: `o` is ours.
    let s = unsafe { state(o) };
    s.check_alive()?;
    s.check_pending()?;
    s.result.set(value);
    s.state.set(State::Finished);
    schedule_callbacks(o)
}

pub fn set_exception_on(o: *mut PyObject, exc: *mut PyObject) -> R<()> {
    // SAFETY: `o` is ours.
    let s = unsafe { state(o) };
    s.check_alive()?;
    s.check_pending()?;
    // SAFETY: `exc` is alive.
    let exc = unsafe {
        if ffi::PyExceptionClass_Check(exc) != 0 {
            call(exc, &[])?
        } else {
            Obj::borrowed(exc)
        }
    };
    // SAFETY: as above.
    if unsafe { ffi::PyExceptionInstance_Check(exc.as_ptr()) } == 0 {
        return Err(type_error("invalid exception object"));
    }
    let exc = match_stop_iteration(exc)?;
    // SAFETY: an exception instance.
    let tb = unsafe { ffi::PyException_GetTraceback(exc.as_ptr()) };
    // SAFETY: an owned reference or null.
    s.exception_tb.replace(unsafe { Obj::owned(tb).ok() });
    s.exception.set(exc);
    s.state.set(State::Finished);
    schedule_callbacks(o)?;
    s.log_traceback.set(true);
    Ok(())
}

/// Whether this interpreter's asyncio wraps a StopIteration in a RuntimeError, in contrast to refusing it: that changed within
/// the micro releases, so its own Python code is asked.
fn wraps_stop_iteration() -> R<bool> {
    let class = super::globals::attr(&super::globals::import("asyncio.futures")?, "_PyFuture")?;
    let code = super::globals::attr(&super::globals::attr(&class, "set_exception")?, "__code__")?;
    let names = super::globals::attr(&code, "co_names")?;
    let wanted = Obj::name("RuntimeError")?;
    // SAFETY: a tuple and a string, both alive.
    match unsafe { ffi::PySequence_Contains(names.as_ptr(), wanted.as_ptr()) } {
        -1 => Err(Raised),
        n => Ok(n == 1),
    }
}

/// StopIteration cannot pass through a generator; asyncio refuses it (3.11) or wraps it (3.12).
fn match_stop_iteration(exc: Obj) -> R<Obj> {
    // SAFETY: StopIteration is alive; an exact type test as in asyncio's C code would miss subclasses, as Python's doesn't.
    let stop = unsafe { ffi::PyExc_StopIteration };
    if !is_instance(exc.as_ptr(), stop) {
        return Ok(exc);
    }
    const TEXT: &str = "StopIteration interacts badly with generators and cannot be raised into a Future";
    if !wraps_stop_iteration()? {
        return Err(type_error(TEXT));
    }
    // SAFETY: RuntimeError is alive.
    let wrapped = call(unsafe { ffi::PyExc_RuntimeError }, &[Obj::str(TEXT)?.as_ptr()])?;
    // SAFETY: both calls steal one reference.
    unsafe {
        ffi::PyException_SetCause(wrapped.as_ptr(), exc.clone().into_ptr());
        ffi::PyException_SetContext(wrapped.as_ptr(), exc.into_ptr());
    }
    Ok(wrapped)
}

/// `Future.cancel`: for futures proper. Tasks have their own.
pub fn cancel_on(o: *mut PyObject, message: Option<Obj>) -> R<bool> {
    // SAFETY: `o` is ours.
    let s = unsafe { state(o) };
    s.log_traceback.set(false);
    if s.is_done() {
        return Ok(false);
    }
    s.state.set(State::Cancelled);
    s.cancel_message.replace(message);
    schedule_callbacks(o)?;
    Ok(true)
}

// ---- methods ------------------------------------------------------------------------------------------------------

/// # Safety
/// As [`state`]: these are methods of our types, so `o` is one.
fn st<'a>(o: *mut PyObject) -> &'a FutureState {
    // SAFETY: methods are only called on instances.
    unsafe { state(o) }
}

fn done(o: *mut PyObject) -> R<Obj> {
    Ok(Obj::bool(st(o).loop_.is_set() && st(o).is_done()))
}

fn cancelled(o: *mut PyObject) -> R<Obj> {
    Ok(Obj::bool(st(o).loop_.is_set() && st(o).state.get() == State::Cancelled))
}

fn result(o: *mut PyObject) -> R<Obj> {
    st(o).result()
}

fn exception(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    s.check_has_loop()?;
    match s.state.get() {
        State::Finished => {
            s.log_traceback.set(false);
            Ok(s.exception.obj_or_none())
        }
        State::Cancelled => Err(raise_object(s.make_cancelled_error()?)),
        State::Pending => Err(raise(globals().invalid_state_error, "Exception is not set.")),
    }
}

/// `Future.set_result` and `set_exception` take a Task too, when called through the class, as asyncio's do.
fn check_ours(o: *mut PyObject, method: &str) -> R<()> {
    if is_ours(o) {
        return Ok(());
    }
    Err(type_error(&format!("Future.{method}() needs a segue Future or Task, not {}", super::globals::repr(o))))
}

fn set_result(o: *mut PyObject, args: Args) -> R<Obj> {
    check_ours(o, "set_result")?;
    let [value] = args.fit("set_result", ["result"], 1, 1)?;
    // SAFETY: alive.
    set_result_on(o, unsafe { Obj::borrowed(value) })?;
    Ok(Obj::none())
}

fn set_exception(o: *mut PyObject, args: Args) -> R<Obj> {
    check_ours(o, "set_exception")?;
    let [exc] = args.fit("set_exception", ["exception"], 1, 1)?;
    set_exception_on(o, exc)?;
    Ok(Obj::none())
}

/// A copy of the current context, which is what a callback without one runs in.
pub fn copy_context() -> R<Obj> {
    // SAFETY: a new reference or null with an error.
    unsafe { Obj::owned(ffi::PyContext_CopyCurrent()) }
}

/// The given context, or a copy of the current one for null and None.
pub fn context_or_copy(context: *mut PyObject) -> R<Obj> {
    // SAFETY: null or alive.
    unsafe {
        if context.is_null() || context == ffi::Py_None() {
            copy_context()
        } else {
            Ok(Obj::borrowed(context))
        }
    }
}

fn add_done_callback(o: *mut PyObject, args: Args) -> R<Obj> {
    let [function, context] = args.fit("add_done_callback", ["fn", "context"], 1, 1)?;
    let s = st(o);
    s.check_alive()?;
    // SAFETY: alive.
    let callback = Callback { call: unsafe { Obj::borrowed(function) }, context: Some(context_or_copy(context)?) };
    if s.is_done() {
        call_soon(o, s, callback)?;
    } else {
        s.push_callback(callback);
    }
    Ok(Obj::none())
}

/// What Python sees of a callback: the callable itself, or a waiting task's wakeup.
fn visible(callback: &Callback) -> R<(Obj, Obj)> {
    match &callback.context {
        Some(context) => Ok((callback.call.clone(), context.clone())),
        None => {
            let task = callback.call.as_ptr();
            // SAFETY: a callback without a context is a task of ours.
            let context = unsafe { super::task::state(task) }.context.obj_or_none();
            Ok((super::task::wakeup_callable(task)?, context))
        }
    }
}

fn remove_done_callback(o: *mut PyObject, wanted: *mut PyObject) -> R<Obj> {
    let s = st(o);
    s.check_alive()?;
    let (first, more) = s.take_callbacks();
    let mut removed = 0;
    let mut kept = Vec::new();
    let mut failed = None;
    // Comparing runs Python, which may add callbacks to the now empty future: they follow the kept ones.
    for callback in first.into_iter().chain(more.into_iter().flat_map(|m| m.into_iter())) {
        let same = match (&failed, &callback.context) {
            (Some(_), _) | (_, None) => Ok(false),
            // SAFETY: both alive.
            _ => match unsafe { ffi::PyObject_RichCompareBool(callback.call.as_ptr(), wanted, ffi::Py_EQ) } {
                -1 => Err(Raised),
                n => Ok(n == 1),
            },
        };
        match same {
            Ok(true) => removed += 1,
            Ok(false) => kept.push(callback),
            Err(raised) => {
                failed = Some(raised);
                kept.push(callback);
            }
        }
    }
    let (new_first, new_more) = s.take_callbacks();
    kept.extend(new_first);
    kept.extend(new_more.into_iter().flat_map(|m| m.into_iter()));
    for callback in kept {
        s.push_callback(callback);
    }
    match failed {
        Some(raised) => Err(raised),
        None => Obj::int(removed),
    }
}

fn cancel(o: *mut PyObject, args: Args) -> R<Obj> {
    let [message] = args.fit("cancel", ["msg"], 1, 0)?;
    st(o).check_alive()?;
    // SAFETY: null or alive.
    let message = (!message.is_null()).then(|| unsafe { Obj::borrowed(message) });
    Ok(Obj::bool(cancel_on(o, message)?))
}

fn get_loop(o: *mut PyObject) -> R<Obj> {
    st(o).check_alive()?;
    Ok(st(o).loop_.obj_or_none())
}

fn make_cancelled_error(o: *mut PyObject) -> R<Obj> {
    st(o).make_cancelled_error()
}

fn callbacks_attr(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    s.check_alive()?;
    let (first, more) = s.take_callbacks();
    let all: Vec<Callback> = first.into_iter().chain(more.into_iter().flat_map(|m| m.into_iter())).collect();
    let shown: R<Vec<(Obj, Obj)>> = all.iter().map(visible).collect();
    let none = all.is_empty();
    for callback in all {
        s.push_callback(callback);
    }
    if none {
        return Ok(Obj::none());
    }
    // SAFETY: a new list whose items are set before anybody sees it.
    unsafe {
        let list = Obj::owned(ffi::PyList_New(0))?;
        for (call, context) in shown? {
            let pair = Obj::tuple(&[call.as_ptr(), context.as_ptr()])?;
            if ffi::PyList_Append(list.as_ptr(), pair.as_ptr()) != 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

fn state_attr(o: *mut PyObject) -> R<Obj> {
    st(o).check_alive()?;
    Obj::str(match st(o).state.get() {
        State::Pending => "PENDING",
        State::Cancelled => "CANCELLED",
        State::Finished => "FINISHED",
    })
}

fn set_log_traceback(o: *mut PyObject, value: *mut PyObject) -> R<()> {
    if value.is_null() {
        return Err(attribute_error("cannot delete attribute"));
    }
    if is_true(value)? {
        return Err(value_error("_log_traceback can only be set to False"));
    }
    st(o).log_traceback.set(false);
    Ok(())
}

fn set_blocking(o: *mut PyObject, value: *mut PyObject) -> R<()> {
    st(o).check_alive()?;
    if value.is_null() {
        return Err(attribute_error("cannot delete attribute"));
    }
    st(o).blocking.set(is_true(value)?);
    Ok(())
}

fn set_cancel_message(o: *mut PyObject, value: *mut PyObject) -> R<()> {
    if value.is_null() {
        return Err(attribute_error("cannot delete attribute"));
    }
    // SAFETY: alive.
    st(o).cancel_message.set(unsafe { Obj::borrowed(value) });
    Ok(())
}

fn repr(o: *mut PyObject) -> R<Obj> {
    st(o).check_alive()?;
    call(globals().future_repr, &[o])
}

fn class_getitem(class: *mut PyObject, item: *mut PyObject) -> R<Obj> {
    // SAFETY: both alive.
    unsafe { Obj::owned(ffi::Py_GenericAlias(class, item)) }
}

fast_method!(m_set_result, set_result);
fast_method!(m_set_exception, set_exception);
fast_method!(m_add_done_callback, add_done_callback);
fast_method!(m_cancel, cancel);
plain_method!(m_done, done);
plain_method!(m_cancelled, cancelled);
plain_method!(m_result, result);
plain_method!(m_exception, exception);
plain_method!(m_get_loop, get_loop);
plain_method!(m_make_cancelled_error, make_cancelled_error);
getter!(g_state, state_attr);
getter!(g_callbacks, callbacks_attr);
getter!(g_blocking, |o| Ok(Obj::bool(st(o).loop_.is_set() && st(o).blocking.get())));
getter!(g_loop, |o| Ok(st(o).loop_.obj_or_none()));
getter!(g_result, |o| st(o).check_alive().map(|()| st(o).result.obj_or_none()));
getter!(g_exception, |o| st(o).check_alive().map(|()| st(o).exception.obj_or_none()));
getter!(g_source, |o| Ok(st(o).source_traceback.obj_or_none()));
getter!(g_cancel_message, |o| Ok(st(o).cancel_message.obj_or_none()));
getter!(g_log_traceback, |o| st(o).check_alive().map(|()| Obj::bool(st(o).log_traceback.get())));
setter!(s_blocking, set_blocking);
setter!(s_log_traceback, set_log_traceback);
setter!(s_cancel_message, set_cancel_message);

unsafe extern "C" fn m_remove_done_callback(o: *mut PyObject, wanted: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || remove_done_callback(o, wanted).map(Obj::into_ptr))
}

unsafe extern "C" fn m_class_getitem(class: *mut PyObject, item: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || class_getitem(class, item).map(Obj::into_ptr))
}

/// The methods that Future and Task share.
pub fn shared_methods() -> Vec<ffi::PyMethodDef> {
    vec![
        no_args(c"done", m_done, c"Return True if the future is done: it has a result, an exception, or was cancelled."),
        no_args(c"cancelled", m_cancelled, c"Return True if the future was cancelled."),
        no_args(c"result", m_result, c"Return the result.\n\nRaises the future's exception, CancelledError if it was cancelled, InvalidStateError if it isn't done."),
        no_args(c"exception", m_exception, c"Return the exception that was set, or None.\n\nRaises CancelledError if the future was cancelled, InvalidStateError if it isn't done."),
        fast(c"add_done_callback", m_add_done_callback, c"add_done_callback($self, fn, /, *, context=None)\n--\n\nCall fn(future) soon after the future is done, in context or a copy of the current one."),
        one_arg(c"remove_done_callback", m_remove_done_callback, c"Remove all instances of a callback; returns how many were removed."),
        no_args(c"get_loop", m_get_loop, c"Return the event loop the future is bound to."),
        no_args(c"_make_cancelled_error", m_make_cancelled_error, c"Create the CancelledError to raise if the future is cancelled."),
        class_method(one_arg(c"__class_getitem__", m_class_getitem, c"See PEP 585")),
    ]
}

/// The attributes that Future and Task share.
pub fn shared_attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        attribute(c"_state", g_state, None),
        attribute(c"_asyncio_future_blocking", g_blocking, Some(s_blocking)),
        attribute(c"_loop", g_loop, None),
        attribute(c"_callbacks", g_callbacks, None),
        attribute(c"_result", g_result, None),
        attribute(c"_exception", g_exception, None),
        attribute(c"_source_traceback", g_source, None),
        attribute(c"_cancel_message", g_cancel_message, Some(s_cancel_message)),
        attribute(c"_log_traceback", g_log_traceback, Some(s_log_traceback)),
    ]
}

// ---- slots --------------------------------------------------------------------------------------------------------

unsafe extern "C" fn tp_new(class: *mut PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: zeroed memory is our valid initial state.
    unsafe { ffi::PyType_GenericAlloc(class, 0) }
}

unsafe extern "C" fn tp_init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    super::obj::guard(-1, || {
        let [loop_] = fit_tuple_dict(args, kwargs, "Future", ["loop"], 0, 0)?;
        init(o, loop_).map(|()| 0)
    })
}

unsafe extern "C" fn tp_repr(o: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || repr(o).map(Obj::into_ptr))
}

pub unsafe extern "C" fn am_await(o: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || {
        st(o).check_alive()?;
        super::future_iter::new(o).map(Obj::into_ptr)
    })
}

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the base's traverse visits the (empty) C struct, the dict and, from 3.12 on, the type.
    unsafe {
        let r = st(o).traverse(visit, arg);
        if r != 0 {
            return r;
        }
        base_traverse(globals().c_future, o, visit, arg)
    }
}

/// Visits what the C base has: the type, the dict and, from 3.14 on, who awaits the future.
///
/// # Safety
/// `base` is the C type under `o`'s type.
pub unsafe fn base_traverse(
    base: *mut PyTypeObject,
    o: *mut PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: before 3.14 everything else in the C struct stays zero, so its own traverse, which is slow, has nothing to
    // find; the dict is where the type says it is.
    unsafe {
        if cfg!(Py_3_14) {
            return (*base).tp_traverse.map_or(0, |f| f(o, visit, arg));
        }
        let r = visit(ffi::Py_TYPE(o).cast(), arg);
        if r != 0 {
            return r;
        }
        #[cfg(Py_3_13)]
        {
            visit_managed_dict(o, visit, arg)
        }
        #[cfg(not(Py_3_13))]
        {
            let dict = *o.cast::<u8>().offset((*base).tp_dictoffset).cast::<*mut PyObject>();
            super::obj::visit_ptr(dict, visit, arg)
        }
    }
}

#[cfg(Py_3_13)]
unsafe fn visit_managed_dict(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    extern "C" {
        fn PyObject_VisitManagedDict(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int;
    }
    // SAFETY: the type has a managed dict, as its base in 3.13 does.
    unsafe { PyObject_VisitManagedDict(o, visit, arg) }
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    st(o).clear();
    // SAFETY: the base's clear sees its own, zeroed struct and the dict.
    unsafe { (*globals().c_future).tp_clear.map_or(0, |f| f(o)) }
}

unsafe extern "C" fn tp_finalize(o: *mut PyObject) {
    finalize(o);
}

/// Reports an exception that nobody retrieved, as asyncio does.
pub fn finalize(o: *mut PyObject) {
    let s = st(o);
    if !s.log_traceback.get() || !s.loop_.is_set() {
        return;
    }
    s.log_traceback.set(false);
    // A finaliser must leave the error indicator as it found it.
    let saved = take_raised();
    if is_task(o) {
        // SAFETY: a task of ours.
        let task = unsafe { super::task::state(o) };
        if let Some(core) = s.core().filter(|core| core.hooks.is_attached()) {
            crate::recorder::never_retrieved(task);
            crate::recording::unheard(core, task, 0);
        }
    }
    if let Err(Raised) = report_never_retrieved(o, s) {
        write_unraisable(o);
    }
    if let Some(saved) = saved {
        raise_object(saved);
    }
}

fn report_never_retrieved(o: *mut PyObject, s: &FutureState) -> R<()> {
    let g = globals();
    let Some(exc) = s.exception.obj() else {
        return Ok(());
    };
    let class = getattr(unsafe_type(o), g.names.name)?;
    let message = format!("{} exception was never retrieved", super::args::text_of(class.as_ptr())?);
    let message = Obj::str(&message)?;
    let mut items = vec![(g.names.message, message.as_ptr()), (g.names.exception, exc.as_ptr()), (g.names.future, o)];
    if s.source_traceback.is_set() {
        items.push((g.names.source_traceback, s.source_traceback.get()));
    }
    call_exception_handler(s.loop_.get(), &items)
}

fn unsafe_type(o: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive.
    unsafe { ffi::Py_TYPE(o).cast() }
}

/// `loop.call_exception_handler({...})`.
pub fn call_exception_handler(loop_: *mut PyObject, items: &[(*mut PyObject, *mut PyObject)]) -> R<()> {
    // SAFETY: a new dict; keys and values are alive.
    unsafe {
        let context = Obj::owned(ffi::PyDict_New())?;
        for &(key, value) in items {
            if ffi::PyDict_SetItem(context.as_ptr(), key, value) != 0 {
                return Err(Raised);
            }
        }
        super::obj::call_method(globals().names.call_exception_handler, &[loop_, context.as_ptr()]).map(drop)
    }
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: called once, by the interpreter, with a reference count of zero.
    unsafe { dealloc(o, globals().c_future, |_| (), |o| st(o).clear()) }
}

/// What both deallocs do: finalise, then see to it that nobody finds the object, then empty our state, then let the C base free the
/// memory.
///
/// # Safety
/// Called from `tp_dealloc`; `base` is the C type under `o`'s type.
pub unsafe fn dealloc(
    o: *mut PyObject,
    base: *mut PyTypeObject,
    hide: impl FnOnce(*mut PyObject),
    clear: impl FnOnce(*mut PyObject),
) {
    // SAFETY: the sequence that the C API documents for types with a finaliser; the base repeats the first two steps,
    // which then do nothing.
    unsafe {
        let class = ffi::Py_TYPE(o);
        if (*class).tp_finalize.is_some() && ffi::PyObject_CallFinalizerFromDealloc(o) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(o.cast());
        hide(o);
        if super::heap_type::is_weakly_referenced(o) {
            ffi::PyObject_ClearWeakRefs(o);
        }
        clear(o);
        let base_is_heap = (*base).tp_flags & ffi::Py_TPFLAGS_HEAPTYPE != 0;
        if let Some(f) = (*base).tp_dealloc {
            f(o);
        }
        if !base_is_heap {
            ffi::Py_DECREF(class.cast());
        }
    }
}

pub fn make_type(g: &Globals) -> R<*mut PyTypeObject> {
    // SAFETY: sizes of live types; OFFSET is written before the first instance.
    unsafe {
        let size = (*g.c_future).tp_basicsize.max((*g.c_task).tp_basicsize);
        OFFSET = round_up(size as usize);
    }
    let mut methods = shared_methods();
    methods.extend([
        fast(c"cancel", m_cancel, c"cancel($self, /, msg=None)\n--\n\nCancel the future and schedule its callbacks.\n\nReturns False if it is already done."),
    ]);
    Definition {
        name: c"segue._core.Future",
        size: offset() + std::mem::size_of::<FutureState>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
        slots: vec![
            slot(ffi::Py_tp_new, tp_new as *mut c_void),
            slot(ffi::Py_tp_init, tp_init as *mut c_void),
            slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
            slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
            slot(ffi::Py_tp_finalize, tp_finalize as *mut c_void),
            slot(ffi::Py_tp_repr, tp_repr as *mut c_void),
            slot(ffi::Py_tp_iter, am_await as *mut c_void),
            slot(ffi::Py_am_await, am_await as *mut c_void),
            slot(ffi::Py_tp_doc, c"A result that will be there later; asyncio.Future in Rust.".as_ptr() as *mut c_void),
        ],
        methods,
        attributes: shared_attributes(),
    }
    .build(Some(g.c_future))
    .and_then(|class| add_setters(class, g.c_future))
}

/// The two setters check for the C base themselves, so that `Future.set_result(task, ...)` reaches a Task.
fn add_setters(class: *mut PyTypeObject, c_future: *mut PyTypeObject) -> R<*mut PyTypeObject> {
    for def in [
        fast(
            c"set_result",
            m_set_result,
            c"set_result($self, result, /)\n--\n\nMark the future done and set its result.\n\nRaises InvalidStateError if it is already done.",
        ),
        fast(
            c"set_exception",
            m_set_exception,
            c"set_exception($self, exception, /)\n--\n\nMark the future done and set an exception (an instance or a class).\n\nRaises InvalidStateError if it is already done.",
        ),
    ] {
        super::heap_type::add_method_for(class, c_future, def)?;
    }
    Ok(class)
}

/// The loop that any future-like object belongs to, as `asyncio.futures._get_loop` finds it.
pub fn loop_of(o: *mut PyObject) -> R<Obj> {
    if is_ours(o) {
        return get_loop(o);
    }
    let n = &globals().names;
    match getattr_opt(o, n.get_loop)? {
        Some(method) => call(method.as_ptr(), &[]),
        None => getattr(o, n.loop_),
    }
}

/// `future.cancel(msg=message)` on anything.
pub fn cancel_any(o: *mut PyObject, message: Option<&Obj>) -> R<bool> {
    if wait::is_wait(o) {
        // SAFETY: just checked.
        return unsafe { wait::state(o) }.cancel(message.cloned());
    }
    let g = globals();
    let method = getattr(o, g.names.cancel)?;
    let none = Obj::none();
    let answer = call_kw(method.as_ptr(), &[message.unwrap_or(&none).as_ptr()], g.kw_msg)?;
    is_true(answer.as_ptr())
}
