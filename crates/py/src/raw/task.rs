//! Task: a heap subtype of the C `asyncio.Task` that overrides every slot and method.
//!
//! | it is | future state | `fut_waiter` | on the ready queue |
//! |---|---|---|---|
//! | new | PENDING | - | Step |
//! | running | PENDING | - | - |
//! | waiting | PENDING | what it awaits | - (the awaited future wakes it) |
//! | ready | PENDING | what it awaited, until the step | Step, Wake or Throw |
//! | done | FINISHED or CANCELLED | - | - |
//!
//! Stepping is in `task_step.rs`; this file is the object: construction, cancellation, attributes, the type's tables.
//! One file since these make sense only together, as in `future.rs`.

use std::cell::Cell;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use sched::CancelSource;

use super::args::{fit_tuple_dict, Args};
use super::future::{self, FutureState, State};
use super::globals::{globals, Globals};
use super::heap_type::{attribute, fast, no_args, one_arg, slot, Definition};
use super::obj::{
    attribute_error, call, call_kw, is_true, raise_object, runtime_error, take_raised, type_error, write_unraisable,
};
use super::task_handle::Handed;
use super::{task_step, Obj, Raised, Slot, R};
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::{fast_method, getter, plain_method, setter};

/// All-zero memory is a task that was never initialised.
#[repr(C)]
pub struct TaskState {
    pub future: FutureState,
    pub coro: Slot,
    pub context: Slot,
    /// A string, or the function that the task is named after; empty until somebody asks for the default name.
    name: Slot,
    /// Of the default name; [`AFTER_FUNCTION`] once a function has become the name.
    name_number: Cell<u64>,
    pub fut_waiter: Slot,
    pub cancel_requests: Cell<i64>,
    /// The task's number in the event record; 0 on loops that aren't ours.
    pub id: Cell<u64>,
    /// The cancel tree's side of the task; see `scope.rs`.
    pub scope: crate::scope::TaskScope,
    /// The nursery whose child it is, while it runs.
    pub nursery: Slot,
    /// The nursery that it belongs to once it has called `task_status.started()`.
    pub eventual_nursery: Slot,
    /// The list of nurseries that it has open, outermost first; empty until the first.
    pub nurseries: Slot,
    /// Parking lots that it breaks if it ends now. Boxed, since a null box is none and all-zero memory must be valid.
    #[allow(clippy::box_collection)]
    pub breaks: Cell<Option<Box<Vec<Obj>>>>,
    /// How often it suspended, and at how many of these points scopes may cancel it. For tests.
    pub schedule_points: Cell<u64>,
    pub cancel_points: Cell<u64>,
    /// Free for whoever lets the task wait.
    pub sleep_data: Slot,
    /// For whoever speaks of the task without keeping it.
    pub handed: Handed,
    /// The number of the task that made it, or 0.
    pub parent: Cell<u64>,
    /// The loop's turn in which it suspended last, or was made: how long it waits is found out by that.
    pub since_turn: Cell<u64>,
    pub must_cancel: Cell<bool>,
    log_destroy_pending: Cell<bool>,
    pub link: super::registry::Link,
}

/// A number that no default name has.
pub const AFTER_FUNCTION: u64 = u64::MAX;

/// Where things are in a task, for who reads it as memory: in bytes from its beginning.
pub struct Fields {
    pub core: usize,
    pub state: usize,
    pub coro: usize,
    pub name: usize,
    pub name_number: usize,
    pub fut_waiter: usize,
    pub id: usize,
    pub parent: usize,
    pub since_turn: usize,
    pub nursery: usize,
    pub nurseries: usize,
    pub next: usize,
    /// All of it.
    pub end: usize,
}

pub fn fields() -> Fields {
    use std::mem::offset_of;
    let begin = future::offset();
    Fields {
        core: begin + offset_of!(TaskState, future) + offset_of!(FutureState, core),
        state: begin + offset_of!(TaskState, future) + offset_of!(FutureState, state),
        coro: begin + offset_of!(TaskState, coro),
        name: begin + offset_of!(TaskState, name),
        name_number: begin + offset_of!(TaskState, name_number),
        fut_waiter: begin + offset_of!(TaskState, fut_waiter),
        id: begin + offset_of!(TaskState, id),
        parent: begin + offset_of!(TaskState, parent),
        since_turn: begin + offset_of!(TaskState, since_turn),
        nursery: begin + offset_of!(TaskState, nursery),
        nurseries: begin + offset_of!(TaskState, nurseries),
        next: begin + offset_of!(TaskState, link) + super::task_list::NEXT,
        end: begin + std::mem::size_of::<TaskState>(),
    }
}

impl TaskState {
    /// The parking lots of the locks that it holds, and others that it breaks.
    pub fn lots(&self) -> Vec<Obj> {
        let lots = self.breaks.take();
        let all = lots.as_deref().cloned().unwrap_or_default();
        self.breaks.set(lots);
        all
    }

    /// Whether the next suspension is going to be cancelled.
    #[inline(always)]
    pub fn feels_cancelled(&self) -> bool {
        self.must_cancel.get() || self.scope.feels_cancelled(self)
    }
}

/// # Safety
/// `o` is an instance of our Task.
#[inline(always)]
pub unsafe fn state<'a>(o: *mut PyObject) -> &'a TaskState {
    // SAFETY: a task's state begins where every future's does.
    unsafe { &*(future::state(o) as *const FutureState).cast::<TaskState>() }
}

/// Whether `o` is our Task (or a subclass).
pub fn is_ours(o: *mut PyObject) -> bool {
    future::is_task(o)
}

fn st<'a>(o: *mut PyObject) -> &'a TaskState {
    // SAFETY: methods are only called on instances.
    unsafe { state(o) }
}

/// Task names count over the process, as asyncio's.
static NAMES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// What a new task is made of; pointers are borrowed, null where not given.
pub struct New {
    pub coro: *mut PyObject,
    pub loop_: *mut PyObject,
    pub name: *mut PyObject,
    /// Without a name: the function that it is named after, once somebody asks.
    pub named_after: *mut PyObject,
    pub context: *mut PyObject,
    pub first_step: FirstStep,
}

/// When a task begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FirstStep {
    /// In the next turn.
    Soon,
    /// Before whoever makes it goes on.
    Eager,
    /// Whoever makes it lets it make its first step, from the ready queue.
    ByCaller,
}

fn is_none_or_null(p: *mut PyObject) -> bool {
    // SAFETY: comparing with None.
    p.is_null() || p == unsafe { ffi::Py_None() }
}

fn check_coroutine(coro: *mut PyObject) -> R<()> {
    // SAFETY: alive.
    if unsafe { ffi::PyCoro_CheckExact(coro) } != 0 {
        return Ok(());
    }
    if is_true(call(globals().iscoroutine, &[coro])?.as_ptr())? {
        return Ok(());
    }
    Err(type_error(&format!("a coroutine was expected, got {}", super::globals::repr(coro))))
}

/// From 3.15 on a task refuses what is no context; before, its first step does.
fn check_context(context: *mut PyObject) -> R<()> {
    // SAFETY: null or alive.
    if cfg!(not(Py_3_15)) || is_none_or_null(context) || unsafe { ffi::PyContext_CheckExact(context) } != 0 {
        return Ok(());
    }
    // SAFETY: alive.
    let class = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(context)).tp_name) }.to_string_lossy().into_owned();
    Err(type_error(&format!("a contextvars.Context was expected, got {class}")))
}

/// Fills a task whose future part is bound to its loop, and schedules its first step (or runs it, if eager).
fn begin(o: *mut PyObject, new: &New) -> R<()> {
    let s = st(o);
    check_coroutine(new.coro)?;
    check_context(new.context)?;
    s.context.set(future::context_or_copy(new.context)?);
    s.fut_waiter.clear();
    s.must_cancel.set(false);
    s.cancel_requests.set(0);
    // SAFETY: alive.
    s.coro.set(unsafe { Obj::borrowed(new.coro) });
    if is_none_or_null(new.name) && !new.named_after.is_null() {
        // SAFETY: alive.
        s.name.set(unsafe { Obj::borrowed(new.named_after) });
    } else if is_none_or_null(new.name) {
        s.name_number.set(NAMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        s.name.clear();
    } else {
        set_name_to(s, new.name)?;
    }
    show(o, s)?;
    s.log_destroy_pending.set(true);
    if let Some(core) = s.future.core() {
        s.id.set(core.hooks.next_task_id());
        s.parent.set(core.hooks.current());
        s.since_turn.set(core.progress.turns());
        if core.hooks.is_attached() {
            crate::recording::spawned(core, o, s);
        }
        if core.overrides.has_task_hook() {
            core.overrides.tell_of_task("spawned", o);
        }
    }
    match new.first_step {
        FirstStep::Eager if is_running(s)? => return task_step::eager_start(o),
        FirstStep::Eager | FirstStep::Soon => schedule_first_step(o, s)?,
        FirstStep::ByCaller => {}
    }
    super::registry::register(o)
}

/// From 3.14 on debuggers of other processes read a task's coroutine and name.
fn show(_o: *mut PyObject, _s: &TaskState) -> R<()> {
    #[cfg(Py_3_14)]
    if _s.coro.is_set() {
        let name = match resolved_name(_s) {
            Name::Number(number) => Obj::int(number as i64)?,
            Name::Object(name) => name,
        };
        super::registry::show(_o, _s.coro.get(), name);
    }
    Ok(())
}

fn is_running(s: &TaskState) -> R<bool> {
    if let Some(core) = s.future.core() {
        return Ok(core.is_running());
    }
    is_true(super::obj::call_method(globals().names.is_running, &[s.future.loop_.get()])?.as_ptr())
}

fn schedule_first_step(o: *mut PyObject, s: &TaskState) -> R<()> {
    task_step::schedule(o, s, None)
}

/// A task on one of our loops, without going through `tp_new` and `tp_init`.
pub fn new_on(core: &LoopCore, new: &New) -> R<Obj> {
    let g = globals();
    // SAFETY: zeroed memory is our valid initial state.
    let o = unsafe { Obj::owned(ffi::PyType_GenericAlloc(g.task_type, 0))? };
    let s = st(o.as_ptr());
    s.future.core.set(core);
    // SAFETY: the loop is alive.
    s.future.loop_.set(unsafe { Obj::borrowed(new.loop_) });
    if core.debug.get() {
        s.future.source_traceback.set(call(g.extract_stack, &[])?);
    }
    begin(o.as_ptr(), new)?;
    // Until it suspends it is on the ready queue, and so no garbage: the collector need not look at it. Many tasks never suspend.
    if new.first_step != FirstStep::Eager && core.is_running() && !core.through_call_soon.get() {
        // SAFETY: just made, and tracked by its allocation.
        unsafe { ffi::PyObject_GC_UnTrack(o.as_ptr().cast()) };
    }
    Ok(o)
}

/// The task may become garbage from now on.
#[inline(always)]
pub fn show_to_collector(o: *mut PyObject) {
    // SAFETY: alive, with its fields in order.
    unsafe {
        if ffi::PyObject_GC_IsTracked(o) == 0 {
            ffi::PyObject_GC_Track(o.cast());
        }
    }
}

unsafe extern "C" fn tp_init(o: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    super::obj::guard(-1, || {
        const NAMES: [&str; 5] = ["coro", "loop", "name", "context", "eager_start"];
        #[cfg(Py_3_12)]
        let [coro, loop_, name, context, eager] = fit_tuple_dict(args, kwargs, "Task", NAMES, 1, 1)?;
        #[cfg(not(Py_3_12))]
        let [coro, loop_, name, context] =
            fit_tuple_dict(args, kwargs, "Task", [NAMES[0], NAMES[1], NAMES[2], NAMES[3]], 1, 1)?;
        #[cfg(not(Py_3_12))]
        let eager = std::ptr::null_mut();
        st(o).scope.leave(st(o).future.core());
        future::init(o, loop_)?;
        let eager = !is_none_or_null(eager) && is_true(eager)?;
        let loop_ = st(o).future.loop_.get();
        let first_step = if eager { FirstStep::Eager } else { FirstStep::Soon };
        begin(o, &New { coro, loop_, name, named_after: std::ptr::null_mut(), context, first_step }).map(|()| 0)
    })
}

// ---- cancellation -------------------------------------------------------------------------------------------------

/// `Task.cancel`: asks once more. What scopes do is in `scope.rs` and never counts as a request.
pub fn cancel_on(o: *mut PyObject, message: Option<Obj>, source: CancelSource) -> R<bool> {
    let s = st(o);
    s.future.log_traceback.set(false);
    if s.future.is_done() {
        return Ok(false);
    }
    s.cancel_requests.set(s.cancel_requests.get() + 1);
    if let Some(core) = s.future.core() {
        s.scope.note_request(s, message.as_ref())?;
        if core.hooks.is_attached() {
            crate::recording::cancelled(core, s, source, s.scope.request().as_ref());
        }
    }
    deliver(o, message)?;
    Ok(true)
}

/// Cancels what the task waits for or, if that refuses or there is nothing, throws at the next step.
fn deliver(o: *mut PyObject, message: Option<Obj>) -> R<()> {
    let s = st(o);
    if let Some(waiter) = s.fut_waiter.obj() {
        if future::cancel_any(waiter.as_ptr(), message.as_ref())? {
            // The waiter's callback wakes the task with the cancellation.
            return Ok(());
        }
    }
    s.must_cancel.set(true);
    s.future.cancel_message.replace(message);
    Ok(())
}

fn cancel(o: *mut PyObject, args: Args) -> R<Obj> {
    let [message] = args.fit("cancel", ["msg"], 1, 0)?;
    st(o).future.check_alive()?;
    // SAFETY: null or alive.
    let message = (!message.is_null()).then(|| unsafe { Obj::borrowed(message) });
    Ok(Obj::bool(cancel_on(o, message, CancelSource::TaskCancel)?))
}

fn uncancel(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    if s.cancel_requests.get() > 0 {
        s.cancel_requests.set(s.cancel_requests.get() - 1);
        // From 3.13 on, taking back the last request also takes back a cancellation that was not delivered yet.
        if cfg!(Py_3_13) && s.cancel_requests.get() == 0 {
            s.must_cancel.set(false);
        }
    }
    Obj::int(s.cancel_requests.get())
}

// ---- other methods ------------------------------------------------------------------------------------------------

fn set_name_to(s: &TaskState, name: *mut PyObject) -> R<()> {
    // SAFETY: alive.
    let name = unsafe {
        if ffi::PyUnicode_CheckExact(name) != 0 {
            Obj::borrowed(name)
        } else {
            Obj::owned(ffi::PyObject_Str(name))?
        }
    };
    if s.name_number.get() == AFTER_FUNCTION {
        s.name_number.set(0);
    }
    s.name.set(name);
    Ok(())
}

/// What a task is called by whoever made or renamed it.
#[derive(Clone)]
pub enum Name {
    /// Its default name's; 0 if it never got one.
    Number(u64),
    /// A string; or a function, whose name it has.
    Object(Obj),
}

impl Name {
    /// The string, or None if there is none.
    pub fn object(&self) -> R<Option<Obj>> {
        match self {
            Name::Number(0) => Ok(None),
            Name::Number(number) => Ok(Some(Obj::str(&format!("Task-{number}"))?)),
            Name::Object(name) if is_string(name) => Ok(Some(name.clone())),
            Name::Object(function) => name_of_function(function).map(Some),
        }
    }
}

pub fn name_as_given(s: &TaskState) -> Name {
    s.name.obj().map_or(Name::Number(s.name_number.get()), Name::Object)
}

/// The same, with the name instead of the function that the task is named after.
pub fn resolved_name(s: &TaskState) -> Name {
    resolve_name(s);
    name_as_given(s)
}

pub fn is_string(o: &Obj) -> bool {
    // SAFETY: alive.
    unsafe { ffi::PyUnicode_Check(o.as_ptr()) != 0 }
}

fn name_of_function(function: &Obj) -> R<Obj> {
    let module = super::globals::import("segue._nursery")?;
    call(super::globals::attr(&module, "_name_of")?.as_ptr(), &[function.as_ptr()])
}

/// Whether its name is that of its function, which somebody has asked for.
pub fn is_named_after_function(s: &TaskState) -> bool {
    s.name_number.get() == AFTER_FUNCTION
}

/// A function that the task is named after becomes a name.
fn resolve_name(s: &TaskState) {
    let Some(function) = s.name.obj() else { return };
    if is_string(&function) {
        return;
    }
    let saved = take_raised();
    match name_of_function(&function) {
        Ok(name) => {
            s.name.set(name);
            s.name_number.set(AFTER_FUNCTION);
        }
        Err(Raised) => write_unraisable(function.as_ptr()),
    }
    if let Some(saved) = saved {
        raise_object(saved);
    }
}

pub fn name(o: *mut PyObject) -> R<Obj> {
    let s = st(o);
    resolve_name(s);
    if !s.name.is_set() {
        if s.name_number.get() == 0 {
            return Ok(Obj::none());
        }
        s.name.set(Obj::str(&format!("Task-{}", s.name_number.get()))?);
    }
    Ok(s.name.obj_or_none())
}

fn renamed(s: &TaskState) {
    if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
        crate::recorder::renamed(s);
        crate::recording::named(core, s);
    }
}

unsafe extern "C" fn m_set_name(o: *mut PyObject, value: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || {
        set_name_to(st(o), value)?;
        show(o, st(o))?;
        renamed(st(o));
        Ok(Obj::none().into_ptr())
    })
}

fn get_stack(o: *mut PyObject, args: Args) -> R<Obj> {
    let [limit] = args.fit("get_stack", ["limit"], 0, 0)?;
    let none = Obj::none();
    call(globals().task_get_stack, &[o, if limit.is_null() { none.as_ptr() } else { limit }])
}

fn print_stack(o: *mut PyObject, args: Args) -> R<Obj> {
    let [limit, file] = args.fit("print_stack", ["limit", "file"], 0, 0)?;
    let none = Obj::none();
    let or_none = |p: *mut PyObject| if p.is_null() { none.as_ptr() } else { p };
    call(globals().task_print_stack, &[o, or_none(limit), or_none(file)])
}

fn iter_await_frames(o: *mut PyObject) -> R<Obj> {
    let walk = super::globals::attr(&super::globals::import("segue._lowlevel")?, "_await_frames")?;
    call(walk.as_ptr(), &[st(o).coro.obj_or_none().as_ptr()])
}

fn set_result(_: *mut PyObject, _: Args) -> R<Obj> {
    Err(runtime_error("Task does not support set_result operation"))
}

fn set_exception(_: *mut PyObject, _: Args) -> R<Obj> {
    Err(runtime_error("Task does not support set_exception operation"))
}

fn repr(o: *mut PyObject) -> R<Obj> {
    st(o).future.check_alive()?;
    call(globals().task_repr, &[o])
}

fn set_log_destroy_pending(o: *mut PyObject, value: *mut PyObject) -> R<()> {
    if value.is_null() {
        return Err(attribute_error("can't delete attribute"));
    }
    st(o).log_destroy_pending.set(is_true(value)?);
    Ok(())
}

fast_method!(m_cancel, cancel);
fast_method!(m_get_stack, get_stack);
fast_method!(m_print_stack, print_stack);
fast_method!(m_set_result, set_result);
fast_method!(m_set_exception, set_exception);
plain_method!(m_uncancel, uncancel);
plain_method!(m_cancelling, |o: *mut PyObject| Obj::int(st(o).cancel_requests.get()));
plain_method!(m_get_name, name);
plain_method!(m_iter_await_frames, iter_await_frames);
plain_method!(m_get_coro, |o: *mut PyObject| Ok(st(o).coro.obj_or_none()));
plain_method!(m_get_context, |o: *mut PyObject| Ok(st(o).context.obj_or_none()));
getter!(g_coro, |o| Ok(st(o).coro.obj_or_none()));
getter!(g_context, |o| Ok(st(o).context.obj_or_none()));
getter!(g_name, name);
getter!(g_parent_nursery, |o| Ok(st(o).nursery.obj_or_none()));
getter!(g_eventual_nursery, |o| Ok(st(o).eventual_nursery.obj_or_none()));
setter!(s_eventual_nursery, |o, value| {
    // SAFETY: null or alive.
    drop(st(o).eventual_nursery.replace((!is_none_or_null(value)).then(|| unsafe { Obj::borrowed(value) })));
    Ok(())
});
getter!(g_child_nurseries, |o| {
    match st(o).nurseries.obj() {
        Some(nurseries) => Ok(nurseries),
        // SAFETY: a new reference or null with an error.
        None => unsafe { Obj::owned(ffi::PyList_New(0)) },
    }
});
getter!(g_schedule_points, |o| Obj::int(st(o).schedule_points.get() as i64));
getter!(g_cancel_points, |o| Obj::int(st(o).cancel_points.get() as i64));
getter!(g_sleep_data, |o| Ok(st(o).sleep_data.obj_or_none()));
setter!(s_sleep_data, |o, value| {
    // SAFETY: null or alive.
    drop(st(o).sleep_data.replace((!value.is_null()).then(|| unsafe { Obj::borrowed(value) })));
    Ok(())
});
getter!(g_fut_waiter, |o| Ok(st(o).fut_waiter.obj_or_none()));
getter!(g_must_cancel, |o| Ok(Obj::bool(st(o).must_cancel.get())));
getter!(g_requests, |o| Obj::int(st(o).cancel_requests.get()));
getter!(g_log_destroy_pending, |o| Ok(Obj::bool(st(o).log_destroy_pending.get())));
setter!(s_log_destroy_pending, set_log_destroy_pending);

// ---- callables for loops that aren't ours, and for `_callbacks` -----------------------------------------------------

/// A method bound to a task: what `loop.call_soon` gets on a loop that isn't ours, and what `_callbacks` shows.
fn bound(def: &'static Definitions, which: usize, o: *mut PyObject) -> R<Obj> {
    // SAFETY: the definition is static; the function object keeps the task alive.
    unsafe {
        Obj::owned(ffi::PyCMethod_New(
            def.0.get().cast::<ffi::PyMethodDef>().add(which),
            o,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        ))
    }
}

struct Definitions(std::cell::UnsafeCell<[ffi::PyMethodDef; 2]>);
// SAFETY: never written; the interpreter takes it as a mutable pointer but only reads it.
unsafe impl Sync for Definitions {}

static STEP_AND_WAKEUP: Definitions = Definitions(std::cell::UnsafeCell::new([
    ffi::PyMethodDef {
        ml_name: c"TaskStepMethWrapper".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: m_step },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: std::ptr::null(),
    },
    ffi::PyMethodDef {
        ml_name: c"task_wakeup".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: m_wakeup },
        ml_flags: ffi::METH_O,
        ml_doc: std::ptr::null(),
    },
]));

pub fn step_callable(o: *mut PyObject) -> R<Obj> {
    bound(&STEP_AND_WAKEUP, 0, o)
}

pub fn wakeup_callable(o: *mut PyObject) -> R<Obj> {
    bound(&STEP_AND_WAKEUP, 1, o)
}

/// `step(exc=None)`, called by a loop that isn't ours in the task's context.
fn step(o: *mut PyObject, args: Args) -> R<Obj> {
    let [exc] = args.fit("step", ["exc"], 1, 0)?;
    // SAFETY: null or alive.
    let exc = (!is_none_or_null(exc)).then(|| unsafe { Obj::borrowed(exc) });
    task_step::step_in_current_context(o, exc)?;
    Ok(Obj::none())
}
fast_method!(m_step, step);

unsafe extern "C" fn m_wakeup(o: *mut PyObject, future: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || {
        let exc = task_step::exception_of(future)?;
        task_step::step_in_current_context(o, exc)?;
        Ok(Obj::none().into_ptr())
    })
}

// ---- slots --------------------------------------------------------------------------------------------------------

unsafe extern "C" fn tp_new(class: *mut PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: zeroed memory is our valid initial state.
    unsafe { ffi::PyType_GenericAlloc(class, 0) }
}

/// By number, not by address: sets of tasks are then iterated in the same order in every run of a program, and what asyncio does over
/// such sets (a TaskGroup cancels one) happens in that order.
unsafe extern "C" fn tp_hash(o: *mut PyObject) -> ffi::Py_hash_t {
    match st(o).id.get() {
        // Not on a loop of ours.
        0 => (o as isize) >> 4,
        id => (id & (isize::MAX as u64)) as ffi::Py_hash_t,
    }
}

unsafe extern "C" fn tp_repr(o: *mut PyObject) -> *mut PyObject {
    super::obj::guard(std::ptr::null_mut(), || repr(o).map(Obj::into_ptr))
}

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    let s = st(o);
    // SAFETY: the collector's visitor, which changes nothing of ours meanwhile.
    unsafe {
        let slots =
            [&s.coro, &s.context, &s.name, &s.fut_waiter, &s.nursery, &s.eventual_nursery, &s.nurseries, &s.sleep_data];
        for slot in slots {
            let r = slot.visit(visit, arg);
            if r != 0 {
                return r;
            }
        }
        // Looked at only: nearly no task has any, and the collector comes often.
        if let Some(lots) = &*s.breaks.as_ptr() {
            if let Some(r) = lots.iter().map(|lot| visit(lot.as_ptr(), arg)).find(|&r| r != 0) {
                return r;
            }
        }
        let r = s.scope.traverse(visit, arg);
        if r != 0 {
            return r;
        }
        let r = s.future.traverse(visit, arg);
        if r != 0 {
            return r;
        }
        future::base_traverse(globals().c_task, o, visit, arg)
    }
}

fn clear(o: *mut PyObject) {
    let s = st(o);
    s.handed.gone();
    s.scope.leave(s.future.core());
    super::registry::unlist(o);
    let old = [s.coro.take(), s.context.take(), s.name.take(), s.fut_waiter.take()];
    let structured =
        (s.nursery.take(), s.eventual_nursery.take(), s.nurseries.take(), s.sleep_data.take(), s.breaks.take());
    s.future.clear();
    drop((old, structured));
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    clear(o);
    // SAFETY: the base's clear sees its own, zeroed struct and the dict.
    unsafe { (*globals().c_task).tp_clear.map_or(0, |f| f(o)) }
}

unsafe extern "C" fn tp_finalize(o: *mut PyObject) {
    let s = st(o);
    if s.future.state.get() == State::Pending && s.log_destroy_pending.get() && s.future.loop_.is_set() {
        let saved = take_raised();
        crate::recorder::destroyed(s);
        if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
            crate::recording::unheard(core, s, 1);
        }
        if let Err(Raised) = report_destroyed(o, s) {
            write_unraisable(o);
        }
        if let Some(saved) = saved {
            raise_object(saved);
        }
    }
    future::finalize(o);
}

fn report_destroyed(o: *mut PyObject, s: &TaskState) -> R<()> {
    let g = globals();
    let message = Obj::str("Task was destroyed but it is pending!")?;
    let mut items = vec![(g.names.task, o), (g.names.message, message.as_ptr())];
    if s.future.source_traceback.is_set() {
        items.push((g.names.source_traceback, s.future.source_traceback.get()));
    }
    future::call_exception_handler(s.future.loop_.get(), &items)
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: called once, by the interpreter, with a reference count of zero.
    unsafe { future::dealloc(o, globals().c_task, |o| st(o).handed.gone(), clear) }
}

pub fn make_type(g: &Globals) -> R<*mut PyTypeObject> {
    let mut methods = future::shared_methods();
    methods.extend([
        fast(c"set_result", m_set_result, c"A task's result is its coroutine's: raises RuntimeError."),
        fast(c"set_exception", m_set_exception, c"A task's exception is its coroutine's: raises RuntimeError."),
        fast(c"cancel", m_cancel, c"cancel($self, /, msg=None)\n--\n\nRequest that the task cancel itself: CancelledError is raised where it waits.\n\nReturns False if it is already done."),
        no_args(c"uncancel", m_uncancel, c"Take back one request to cancel; returns how many remain."),
        no_args(c"cancelling", m_cancelling, c"Return the number of requests to cancel that were not taken back."),
        no_args(c"get_name", m_get_name, c"Return the name of the task."),
        one_arg(c"set_name", m_set_name, c"Set the name of the task."),
        no_args(c"get_coro", m_get_coro, c"Return the coroutine that the task runs."),
        no_args(c"get_context", m_get_context, c"Return the contextvars context the task runs in."),
        no_args(c"iter_await_frames", m_iter_await_frames, c"Iterate over the frames from the task's coroutine to where it waits: (frame, line number)."),
        fast(c"get_stack", m_get_stack, c"get_stack($self, /, *, limit=None)\n--\n\nReturn the list of stack frames for the task's coroutine."),
        fast(c"print_stack", m_print_stack, c"print_stack($self, /, *, limit=None, file=None)\n--\n\nPrint the stack or traceback for the task's coroutine."),
    ]);
    let mut attributes = future::shared_attributes();
    attributes.extend([
        attribute(c"_coro", g_coro, None),
        attribute(c"coro", g_coro, None),
        attribute(c"context", g_context, None),
        attribute(c"name", g_name, None),
        attribute(c"parent_nursery", g_parent_nursery, None),
        attribute(c"eventual_parent_nursery", g_eventual_nursery, Some(s_eventual_nursery)),
        attribute(c"child_nurseries", g_child_nurseries, None),
        attribute(c"_child_nurseries", g_child_nurseries, None),
        attribute(c"custom_sleep_data", g_sleep_data, Some(s_sleep_data)),
        attribute(c"_schedule_points", g_schedule_points, None),
        attribute(c"_cancel_points", g_cancel_points, None),
        attribute(c"_fut_waiter", g_fut_waiter, None),
        attribute(c"_must_cancel", g_must_cancel, None),
        attribute(c"_num_cancels_requested", g_requests, None),
        attribute(c"_log_destroy_pending", g_log_destroy_pending, Some(s_log_destroy_pending)),
    ]);
    // SAFETY: a type that is ready.
    let Some(object_compare) = (unsafe { ffi::PyBaseObject_Type.tp_richcompare }) else {
        return Err(runtime_error("object has no comparison"));
    };
    Definition {
        name: c"segue._core.Task",
        size: future::offset() + std::mem::size_of::<TaskState>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
        slots: vec![
            slot(ffi::Py_tp_new, tp_new as *mut c_void),
            slot(ffi::Py_tp_init, tp_init as *mut c_void),
            slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
            slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
            slot(ffi::Py_tp_finalize, tp_finalize as *mut c_void),
            slot(ffi::Py_tp_repr, tp_repr as *mut c_void),
            slot(ffi::Py_tp_hash, tp_hash as *mut c_void),
            // Not inherited by who has a hash of its own: equal is who is the same.
            slot(ffi::Py_tp_richcompare, object_compare as *mut c_void),
            slot(ffi::Py_tp_iter, future::am_await as *mut c_void),
            slot(ffi::Py_am_await, future::am_await as *mut c_void),
            slot(ffi::Py_tp_doc, c"A coroutine that runs on a loop; asyncio.Task in Rust.".as_ptr() as *mut c_void),
        ],
        methods,
        attributes,
    }
    .build(Some(g.c_task))
}

/// Puts a task on its loop's ready queue again: after a bare yield, or with an exception to throw.
pub fn push(core: &LoopCore, o: *mut PyObject, exc: Option<Obj>) {
    // SAFETY: alive.
    let task = unsafe { Obj::borrowed(o) };
    if core.overrides.has_task_hook() {
        core.overrides.tell_of_task("scheduled", o);
    }
    core.push(match exc {
        None => Job::Step(task),
        Some(exc) => Job::Throw { task, exc },
    });
}

/// `loop.call_soon(step, [exc], context=...)` on a loop that isn't ours, or on ours in debug mode.
pub fn call_soon_step(o: *mut PyObject, s: &TaskState, exc: Option<Obj>) -> R<()> {
    let g = globals();
    let step = step_callable(o)?;
    let context = s.context.obj_or_none();
    let method = super::obj::getattr(s.future.loop_.get(), g.names.call_soon)?;
    let mut args = vec![step.as_ptr()];
    args.extend(exc.as_ref().map(Obj::as_ptr));
    args.push(context.as_ptr());
    call_kw(method.as_ptr(), &args, g.kw_context).map(drop)
}
