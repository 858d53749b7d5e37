//! Handle and TimerHandle: heap subtypes of asyncio's classes that keep everything in their base's `__slots__`, so that
//! asyncio's own code (repr, debug, `_run`) works on them; only making, running and cancelling them is ours.
//! Handles that nobody holds after they ran are kept for reuse.
//!
//! The garbage collector doesn't see a handle while it waits on a running loop: the loop is alive then, so the handle is, and
//! ten thousand pending timers don't make every collection longer. It is shown the handle as soon as the handle has run or was
//! cancelled and somebody still holds it, and when the loop stops running ([`show_to_collector`]).

use std::cell::{Cell, UnsafeCell};
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use sched::TimerToken;

use super::globals::{globals, Globals, Names};
use super::heap_type::{is_weakly_referenced, no_args, round_up, slot, Definition};
use super::obj::{call, getattr, runtime_error};
use super::{Obj, Slot, R};
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::plain_method;

/// Where the base classes keep their slots; read from their member descriptors.
pub struct Layout {
    callback: usize,
    args: usize,
    cancelled: usize,
    loop_: usize,
    source: usize,
    repr: usize,
    context: usize,
    when: usize,
    scheduled: usize,
    /// Where a TimerHandle's token is: behind the base.
    token: usize,
}

/// `PyMemberDescrObject`, which pyo3 does not declare.
#[repr(C)]
struct MemberDescr {
    base: PyObject,
    class: *mut PyTypeObject,
    name: *mut PyObject,
    qualname: *mut PyObject,
    member: *const ffi::PyMemberDef,
}

/// Where a class keeps one of its `__slots__`.
pub fn slot_offset(class: *mut PyTypeObject, name: *mut PyObject) -> R<usize> {
    let descr = getattr(class.cast(), name)?;
    // SAFETY: the type is checked before the cast; its layout has been the same since Python 2.2.
    unsafe {
        if ffi::Py_TYPE(descr.as_ptr()) != &raw mut ffi::PyMemberDescr_Type {
            return Err(runtime_error("asyncio's handle classes have no __slots__; this interpreter isn't supported"));
        }
        Ok((*(*descr.as_ptr().cast::<MemberDescr>()).member).offset as usize)
    }
}

impl Layout {
    pub fn new(handle: *mut PyTypeObject, timer: *mut PyTypeObject, n: &Names) -> R<Self> {
        Ok(Layout {
            callback: slot_offset(handle, n.callback_slot)?,
            args: slot_offset(handle, n.args_slot)?,
            cancelled: slot_offset(handle, n.cancelled_slot)?,
            loop_: slot_offset(handle, n.loop_)?,
            source: slot_offset(handle, n.source_slot)?,
            repr: slot_offset(handle, n.repr_slot)?,
            context: slot_offset(handle, n.context_slot)?,
            when: slot_offset(timer, n.when_slot)?,
            scheduled: slot_offset(timer, n.scheduled_slot)?,
            // SAFETY: a live type.
            token: round_up(unsafe { (*timer).tp_basicsize } as usize),
        })
    }
}

/// One handle's slots. Borrowed from the object, which the caller keeps alive.
#[derive(Clone, Copy)]
pub struct Handle(*mut PyObject);

impl Handle {
    /// `o` is a Handle or TimerHandle of ours.
    pub fn of(o: &Obj) -> Handle {
        Handle(o.as_ptr())
    }

    fn slot(&self, offset: usize) -> &Slot {
        // SAFETY: a `__slots__` member is one nullable object pointer, which is what a Slot is.
        unsafe { &*self.0.cast::<u8>().add(offset).cast::<Slot>() }
    }

    fn callback(&self) -> &Slot {
        self.slot(layout().callback)
    }

    /// Borrowed, or null.
    pub fn callback_ptr(&self) -> *mut PyObject {
        self.callback().get()
    }

    fn args(&self) -> &Slot {
        self.slot(layout().args)
    }

    fn context(&self) -> &Slot {
        self.slot(layout().context)
    }

    pub fn is_cancelled(&self) -> bool {
        // SAFETY: True is alive.
        self.slot(layout().cancelled).get() == unsafe { ffi::Py_True() }
    }

    fn token(&self) -> &Cell<TimerToken> {
        // SAFETY: only called on TimerHandles of ours, whose size includes the token.
        unsafe { &*self.0.cast::<u8>().add(layout().token).cast::<Cell<TimerToken>>() }
    }

    fn is_timer(&self) -> bool {
        // SAFETY: alive. The type has no subclasses.
        unsafe { ffi::Py_TYPE(self.0) == globals().timer_type }
    }

    fn loop_core(&self) -> Option<&LoopCore> {
        LoopCore::of(self.slot(layout().loop_).get())
    }
}

fn layout() -> &'static Layout {
    &globals().handle_layout
}

/// Handles that ran and that nobody else holds: alive, empty, kept for the next `call_soon`.
struct Pool(UnsafeCell<Vec<Obj>>);
// SAFETY: touched only with the GIL held, and never across a call that could release it.
unsafe impl Sync for Pool {}
static HANDLES: Pool = Pool(UnsafeCell::new(Vec::new()));
static TIMERS: Pool = Pool(UnsafeCell::new(Vec::new()));
const KEEP: usize = 1024;

/// A handle that the collector may not know of yet.
fn alloc(class: *mut PyTypeObject, pool: &Pool) -> R<Obj> {
    // SAFETY: under the GIL. What is in the pool is nobody's. New memory is zeroed behind what the interpreter has
    // initialised: empty slots.
    unsafe {
        if let Some(o) = (*pool.0.get()).pop() {
            return Ok(o);
        }
        let o = Obj::owned(ffi::PyObject_GC_New(class))?;
        let head = std::mem::size_of::<PyObject>();
        o.as_ptr().cast::<u8>().add(head).write_bytes(0, (*class).tp_basicsize as usize - head);
        Ok(o)
    }
}

/// From now on the handle may be part of a cycle that nobody else refers to.
#[inline]
pub fn show_to_collector(o: &Obj) {
    // SAFETY: alive, and every slot is valid.
    unsafe {
        if ffi::PyObject_GC_IsTracked(o.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(o.as_ptr().cast());
        }
    }
}

/// The handle has run or was cancelled: if only we hold it, it is kept for reuse.
#[inline]
pub fn recycle(core: &LoopCore, o: Obj) {
    let g = globals();
    // SAFETY: alive; under the GIL.
    unsafe {
        let class = ffi::Py_TYPE(o.as_ptr());
        let pool = if class == g.handle_type {
            &HANDLES
        } else if class == g.timer_type {
            &TIMERS
        } else {
            return;
        };
        if ffi::Py_REFCNT(o.as_ptr()) != 1 {
            return show_to_collector(&o);
        }
        if (*pool.0.get()).len() >= KEEP || is_weakly_referenced(o.as_ptr()) {
            return;
        }
        // From here on nobody can find it, through the collector neither, while what it held runs Python as it goes.
        if ffi::PyObject_GC_IsTracked(o.as_ptr()) != 0 {
            ffi::PyObject_GC_UnTrack(o.as_ptr().cast());
        }
        let h = Handle::of(&o);
        drop((h.callback().take(), h.slot(layout().loop_).take()));
        if h.args().get() != g.empty_tuple {
            h.args().clear();
        }
        if let Some(context) = h.context().take() {
            core.contexts.give_back(context);
        }
        (*pool.0.get()).push(o);
    }
}

/// A handle for the loop's queue, with its callback and what belongs to it.
fn fill(o: &Obj, loop_: *mut PyObject, callback: *mut PyObject, args: &[*mut PyObject], context: Obj) -> R<()> {
    let h = Handle::of(o);
    let l = layout();
    // SAFETY: everything passed in is alive, and so are None, False and the empty tuple.
    unsafe {
        if args.is_empty() {
            h.args().set_if_other(globals().empty_tuple);
        } else {
            h.args().set(Obj::tuple(args)?);
        }
        h.callback().set(Obj::borrowed(callback));
        h.slot(l.loop_).set(Obj::borrowed(loop_));
        h.slot(l.cancelled).set_if_other(ffi::Py_False());
        h.slot(l.source).set_if_other(ffi::Py_None());
        h.slot(l.repr).set_if_other(ffi::Py_None());
    }
    h.context().set(context);
    Ok(())
}

/// Notes who made the handle, in debug mode.
pub fn note_source(o: &Obj) -> R<()> {
    let stack = call(globals().extract_stack, &[])?;
    Handle::of(o).slot(layout().source).set(stack);
    Ok(())
}

/// A handle that the collector sees.
pub fn new(loop_: *mut PyObject, callback: *mut PyObject, args: &[*mut PyObject], context: Obj) -> R<Obj> {
    let o = new_pending(loop_, callback, args, context)?;
    show_to_collector(&o);
    Ok(o)
}

/// A handle that goes to the queue of a loop, which runs or shows it to the collector.
#[inline(always)]
pub fn new_pending(loop_: *mut PyObject, callback: *mut PyObject, args: &[*mut PyObject], context: Obj) -> R<Obj> {
    let o = alloc(globals().handle_type, &HANDLES)?;
    fill(&o, loop_, callback, args, context)?;
    Ok(o)
}

/// As [`new_pending`].
pub fn new_timer(
    loop_: *mut PyObject,
    when: Obj,
    callback: *mut PyObject,
    args: &[*mut PyObject],
    context: Obj,
) -> R<Obj> {
    let o = alloc(globals().timer_type, &TIMERS)?;
    fill(&o, loop_, callback, args, context)?;
    let h = Handle::of(&o);
    h.slot(layout().when).set(when);
    h.slot(layout().scheduled).set(Obj::bool(true));
    h.token().set(TimerToken::NONE);
    Ok(o)
}

pub fn set_token(o: &Obj, token: TimerToken) {
    Handle::of(o).token().set(token);
}

/// The timer fired: it is no longer scheduled.
pub fn fired(o: &Obj) {
    let h = Handle::of(o);
    if h.is_timer() {
        h.token().set(TimerToken::NONE);
        h.slot(layout().scheduled).set(Obj::bool(false));
    }
}

/// Runs the callback in its context; what it raises is for the caller to report.
///
/// A handle of asyncio's own (a thread-safe one) runs itself: it may have to take a lock, and reports what is raised.
#[inline]
pub fn run(o: &Obj) -> R<()> {
    let g = globals();
    // SAFETY: alive.
    let class = unsafe { ffi::Py_TYPE(o.as_ptr()) };
    if class != g.handle_type && class != g.timer_type {
        return super::obj::call_method(g.names.run, &[o.as_ptr()]).map(drop);
    }
    let h = Handle::of(o);
    let (Some(callback), Some(args), Some(context)) = (h.callback().obj(), h.args().obj(), h.context().obj()) else {
        return Ok(()); // cancelled meanwhile
    };
    // SAFETY: alive.
    if unsafe { ffi::PyTuple_CheckExact(args.as_ptr()) } == 0 {
        // Somebody has put something else there: asyncio's own way takes it, or says what is wrong with it.
        return super::obj::call_method(g.names.run, &[o.as_ptr()]).map(drop);
    }
    // SAFETY: a tuple, which outlives its items' use here.
    let items = unsafe {
        let n = ffi::PyTuple_GET_SIZE(args.as_ptr()) as usize;
        let items = args.as_ptr().cast::<ffi::PyTupleObject>();
        std::slice::from_raw_parts((&raw const (*items).ob_item).cast::<*mut PyObject>(), n)
    };
    // SAFETY: entering fails cleanly if it is in use or no context.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        let mut all = vec![callback.as_ptr()];
        all.extend_from_slice(items);
        return super::task_step::run_in_foreign_context(&context, &all);
    }
    super::task_step::leave_context(&context, call(callback.as_ptr(), items).map(drop))
}

fn slots<'a>(o: *mut PyObject) -> impl Iterator<Item = &'a Slot> {
    let l = layout();
    // The two that only a TimerHandle has come last.
    let all = [l.callback, l.args, l.cancelled, l.loop_, l.source, l.repr, l.context, l.when, l.scheduled];
    let n = if Handle(o).is_timer() { 9 } else { 7 };
    // SAFETY: a `__slots__` member is one nullable object pointer, which is what a Slot is.
    all.into_iter().take(n).map(move |offset| unsafe { &*o.cast::<u8>().add(offset).cast::<Slot>() })
}

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    let h = Handle(o);
    // The other slots hold a number, a text or a truth value, which refer to nothing.
    let seen = [h.callback(), h.args(), h.slot(layout().loop_), h.context(), h.slot(layout().source)];
    // SAFETY: the collector's visitor; a heap type's instances visit their type.
    unsafe {
        let mut r = visit(ffi::Py_TYPE(o).cast(), arg);
        for slot in seen {
            let p = slot.get();
            if r == 0 && p != ffi::Py_None() && p != globals().empty_tuple {
                r = slot.visit(visit, arg);
            }
        }
        r
    }
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    slots(o).for_each(Slot::clear);
    0
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: reference count zero, called once.
    unsafe {
        let class = ffi::Py_TYPE(o);
        ffi::PyObject_GC_UnTrack(o.cast());
        if is_weakly_referenced(o) {
            ffi::PyObject_ClearWeakRefs(o);
        }
        slots(o).for_each(Slot::clear);
        ffi::PyObject_GC_Del(o.cast());
        ffi::Py_DECREF(class.cast());
    }
}

fn cancel(o: *mut PyObject) -> R<Obj> {
    let h = Handle(o);
    if h.is_cancelled() {
        return Ok(Obj::none());
    }
    h.slot(layout().cancelled).set(Obj::bool(true));
    let core = h.loop_core();
    if core.is_some_and(|c| c.debug.get()) {
        // What it was is shown after its callback is gone.
        // SAFETY: alive.
        let text = unsafe { Obj::owned(ffi::PyObject_Repr(o))? };
        h.slot(layout().repr).set(text);
    }
    h.callback().set(Obj::none());
    h.args().set(Obj::none());
    if h.is_timer() {
        if let Some(core) = core {
            let job = core.scheduler.cancel_timer(h.token().replace(TimerToken::NONE));
            if let Some(Job::Timer(own)) = &job {
                show_to_collector(own);
            }
            drop(job);
        }
    }
    Ok(Obj::none())
}

plain_method!(m_cancel, cancel);

pub fn make_types(g: &Globals) -> R<(*mut PyTypeObject, *mut PyTypeObject)> {
    let doc = c"Cancel the callback; a no-op if it has run or was cancelled.";
    let build = |name, base: *mut PyTypeObject, extra| {
        Definition {
            name,
            // SAFETY: a live type.
            size: round_up(unsafe { (*base).tp_basicsize } as usize) + extra,
            flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC,
            slots: vec![
                slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
                slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
                slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            ],
            methods: vec![no_args(c"cancel", m_cancel, doc)],
            attributes: Vec::new(),
        }
        .build(Some(base))
    };
    let handle = build(c"segue._core.Handle", g.handle_base, 0)?;
    let timer = build(c"segue._core.TimerHandle", g.timer_base, std::mem::size_of::<TimerToken>())?;
    Ok((handle, timer))
}
