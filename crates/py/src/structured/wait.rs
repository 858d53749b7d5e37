//! What `await lock.acquire()`, `await channel.receive()` and the like wait with: one awaitable for all of them.
//!
//! | phase | it | resumed | thrown into | `cancel()` |
//! |---|---|---|---|---|
//! | New | was not awaited yet | tries | raises | False |
//! | Checking | lets a cancellation come first | tries | raises | - |
//! | Queued | stands in a queue; the task waits | an error | leaves the queue, raises | leaves the queue, True |
//! | Cancelled | was taken out of the queue | - | raises | False |
//! | Woken | got what it waited for | returns it | gives it back, raises | False |
//! | Failed | what it waited for broke | raises that | raises | False |
//! | Passing | got it without waiting, and lets others run | returns it | gives it back, raises | - |
//! | Done | is over | an error | raises | False |
//! | Over | never waits, and can be awaited again | returns None | raises | False |
//!
//! Rule 1: it is a schedule point and a cancel point unless it raises; nothing was taken when it raises Cancelled (Trio's rules:
//!         https://trio.readthedocs.io/en/stable/reference-core.html#checkpoints).
//! Rule 2: who gets what is decided when it is given, not when the task runs: nobody can come in between.
//! Rule 3: what was given to a task that a `Task.cancel()` interrupts first goes to the next one.
//!
//! The task waits for the object itself: there is no future in between. What the operations do is in the files beside this one,
//! each as an [`Operation`].

use std::cell::{Cell, UnsafeCell};
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::current;
use crate::raw::args::Args;
use crate::raw::awaiting::{self, Step};
use crate::raw::globals::globals;
use crate::raw::heap_type::{attribute, fast, no_args, one_arg, slot, Definition};
use crate::raw::obj::{call, guard, raise_object, runtime_error, take_raised, write_unraisable};
use crate::raw::task::{self, TaskState};
use crate::raw::{task_step, Obj, Raised, Slot, R};
use crate::{fast_method, getter, plain_method};

/// One kind of waiting.
pub struct Operation {
    /// As in `Lock.acquire`.
    pub name: &'static str,
    /// Whether a cancelled task doesn't even try, and others run after a success without waiting.
    pub checkpoint: Checkpoint,
    /// Tries: `Some` is what the await returns; `None` means that the wait now stands in a queue.
    pub attempt: fn(&Wait) -> R<Option<Obj>>,
    /// Takes the wait out of the queue that it stands in.
    pub leave: fn(&Wait),
    /// Where others decide whether the wait may be cancelled: asks them, and leaves if so. Asked once a wait.
    pub abort: Option<fn(&Wait) -> R<bool>>,
    /// Gives back what the task got but never saw.
    pub undo: fn(&Wait, Obj) -> R<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Raises if the task is cancelled, before it tries; a success without waiting lets others run once.
    Full,
    /// Neither: only a wait suspends.
    No,
    /// Others run once, whatever the scopes say.
    Shielded,
    /// Raises if the task is cancelled; else nothing.
    IfCancelled,
    /// Others run once; scopes may throw then.
    Plain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Phase {
    New = 0,
    Checking,
    Queued,
    Cancelled,
    Woken,
    Failed,
    Passing,
    Done,
    Over,
}

#[repr(C)]
pub struct Wait {
    base: PyObject,
    operation: Cell<Option<&'static Operation>>,
    phase: Cell<Phase>,
    /// `Operation::abort` was called.
    asked: Cell<bool>,
    /// Its number in the queue that it stands in.
    pub ticket: Cell<u64>,
    /// The lock, channel or other object of which the operation is one.
    pub owner: Slot,
    /// What the operation is about: what is sent, who borrows.
    pub payload: Slot,
    /// The object whose queue it stands in, where that isn't the owner's own.
    pub queue: Slot,
    /// Who awaits it; from the attempt on.
    pub task: Slot,
    /// What the await returns or raises.
    value: Slot,
}

/// Freed objects, kept for reuse: one is made for every await.
struct FreeList(UnsafeCell<Vec<*mut PyObject>>);
// SAFETY: touched only with the GIL held, and never across a call that could release it.
unsafe impl Sync for FreeList {}
static FREE: FreeList = FreeList(UnsafeCell::new(Vec::new()));
const KEEP: usize = 255;

static mut TYPE: *mut PyTypeObject = std::ptr::null_mut();

pub fn class() -> *mut PyTypeObject {
    // SAFETY: written once, while the module is imported.
    unsafe { TYPE }
}

/// Whether `o` is such an awaitable.
#[inline(always)]
pub fn is_wait(o: *mut PyObject) -> bool {
    // SAFETY: alive. The type has no subclasses.
    unsafe { ffi::Py_TYPE(o) == TYPE }
}

/// For who reads a Wait as memory: its type's address, and where in it the operation, the owner and the queue are.
pub fn fields() -> (usize, [usize; 3]) {
    use std::mem::offset_of;
    // SAFETY: set once, when the module was loaded.
    let class = unsafe { TYPE } as usize;
    (class, [offset_of!(Wait, operation), offset_of!(Wait, owner), offset_of!(Wait, queue)])
}

/// The name of the operation whose address is at `operation`, for who reads memory through these functions.
pub fn name_at(
    word: impl Fn(usize) -> Option<usize>,
    bytes: impl Fn(usize, usize) -> Option<Vec<u8>>,
    operation: usize,
) -> Option<String> {
    let name = word(operation)?.checked_add(std::mem::offset_of!(Operation, name))?;
    // A `&str` is an address and a length.
    let (text, length) = (word(name)?, word(name.checked_add(std::mem::size_of::<usize>())?)?);
    (length < 100).then(|| bytes(text, length)).flatten().and_then(|name| String::from_utf8(name).ok())
}

/// # Safety
/// `o` is a Wait.
#[inline(always)]
pub unsafe fn state<'a>(o: *mut PyObject) -> &'a Wait {
    // SAFETY: the caller's promise.
    unsafe { &*o.cast::<Wait>() }
}

fn st<'a>(o: *mut PyObject) -> &'a Wait {
    // SAFETY: methods are only called on instances.
    unsafe { state(o) }
}

/// A new awaitable. `owner` is borrowed, or null.
#[inline]
pub fn new(operation: &'static Operation, owner: *mut PyObject, payload: Option<Obj>) -> R<Obj> {
    // SAFETY: under the GIL; a freed object has empty slots and valid memory. `owner` is null or alive.
    unsafe {
        let o = match (*FREE.0.get()).pop() {
            Some(o) => {
                // Makes the object live again with one reference, and takes one to the type, as an allocation does.
                ffi::PyObject_Init(o, TYPE);
                ffi::PyObject_GC_Track(o.cast());
                Obj::owned(o)?
            }
            None => Obj::owned(ffi::PyType_GenericAlloc(TYPE, 0))?,
        };
        let wait = st(o.as_ptr());
        wait.operation.set(Some(operation));
        wait.phase.set(Phase::New);
        wait.asked.set(false);
        if !owner.is_null() {
            wait.owner.set(Obj::borrowed(owner));
        }
        drop(wait.payload.replace(payload));
        Ok(o)
    }
}

impl Wait {
    fn operation(&self) -> &'static Operation {
        const NOTHING: Operation = Operation {
            name: "await",
            checkpoint: Checkpoint::No,
            attempt: |_| Ok(Some(Obj::none())),
            leave: |_| (),
            abort: None,
            undo: |_, _| Ok(()),
        };
        self.operation.get().unwrap_or(&NOTHING)
    }

    pub fn as_ptr(&self) -> *mut PyObject {
        (self as *const Wait).cast_mut().cast()
    }

    pub fn as_obj(&self) -> Obj {
        // SAFETY: alive.
        unsafe { Obj::borrowed(self.as_ptr()) }
    }

    pub fn is_a(&self, operation: &'static Operation) -> bool {
        self.operation.get().is_some_and(|own| std::ptr::eq(own, operation))
    }

    /// A number for the operation: an `async def` in its place would have a site of its own.
    pub fn site(&self) -> u64 {
        self.operation.get().map_or(0, |own| std::ptr::from_ref(own) as u64)
    }

    /// Whether the task still waits: neither woken nor cancelled.
    pub fn is_queued(&self) -> bool {
        self.phase.get() == Phase::Queued
    }

    /// The task that awaits it.
    pub fn task_obj(&self) -> Obj {
        self.task.obj_or_none()
    }

    fn task_state(&self) -> Option<&TaskState> {
        let task = self.task.get();
        // SAFETY: what is in the slot is a task of ours.
        (!task.is_null()).then(|| unsafe { task::state(task) })
    }

    /// The object that it waits at.
    pub fn object(&self) -> *mut PyObject {
        if self.queue.is_set() {
            self.queue.get()
        } else {
            self.owner.get()
        }
    }

    /// What it waits for, in a word.
    pub fn operation_name(&self) -> &'static str {
        self.operation.get().map_or("", |operation| operation.name)
    }

    /// Ends the wait with `value`, which the await returns. The wait is in no queue any more.
    pub fn wake(&self, value: Obj) -> R<()> {
        self.end(Phase::Woken, value)
    }

    /// The same with an exception.
    pub fn fail(&self, exc: Obj) -> R<()> {
        self.end(Phase::Failed, exc)
    }

    fn end(&self, phase: Phase, value: Obj) -> R<()> {
        if self.phase.get() != Phase::Queued {
            return Ok(());
        }
        self.phase.set(phase);
        self.value.set(value);
        if let Some((s, core)) = self.task_state().and_then(|s| Some((s, s.future.core()?))) {
            core.hooks.wake(s.id.get());
        }
        match (self.task.obj(), self.task_state()) {
            (Some(task), Some(s)) => task_step::schedule(task.as_ptr(), s, None),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn step(&self) -> R<Step> {
        match self.phase.get() {
            Phase::New => self.start(),
            Phase::Checking => self.attempt(),
            Phase::Woken => Ok(Step::Return(self.finish())),
            Phase::Passing => {
                if let Some(s) = self.task_state() {
                    s.scope.set_holds(false);
                }
                Ok(Step::Return(self.finish()))
            }
            Phase::Failed => Err(raise_in_context(self.finish())),
            Phase::Queued | Phase::Cancelled => Err(runtime_error(&format!(
                "{} was resumed by something else than Segue's loop",
                self.operation().name
            ))),
            Phase::Over => Ok(Step::Return(Obj::none())),
            Phase::Done => Err(runtime_error(&format!("cannot reuse already awaited {}()", self.operation().name))),
        }
    }

    #[inline(always)]
    fn finish(&self) -> Obj {
        self.phase.set(Phase::Done);
        drop((self.owner.take(), self.payload.take(), self.queue.take(), self.task.take()));
        self.value.take().unwrap_or_else(Obj::none)
    }

    #[inline(always)]
    fn start(&self) -> R<Step> {
        let operation = self.operation();
        let (_, task) = match current(operation.name) {
            Ok(found) => found,
            Err(Raised) => {
                self.phase.set(Phase::Done);
                return Err(Raised);
            }
        };
        // SAFETY: `current` gives tasks of ours only.
        let s = unsafe { task::state(task.as_ptr()) };
        self.task.set(task);
        match operation.checkpoint {
            Checkpoint::No => self.attempt(),
            Checkpoint::Shielded => {
                s.scope.set_holds(true);
                self.phase.set(Phase::Passing);
                Ok(Step::Yield(Obj::none()))
            }
            Checkpoint::Plain => {
                self.phase.set(Phase::Passing);
                Ok(Step::Yield(Obj::none()))
            }
            Checkpoint::Full | Checkpoint::IfCancelled => {
                s.cancel_points.set(s.cancel_points.get() + 1);
                if s.feels_cancelled() {
                    self.phase.set(Phase::Checking);
                    return Ok(Step::Yield(Obj::none()));
                }
                self.attempt()
            }
        }
    }

    #[inline(always)]
    fn attempt(&self) -> R<Step> {
        let operation = self.operation();
        // Before the attempt, since what it is queued in may wake it at once.
        self.phase.set(Phase::Queued);
        match (operation.attempt)(self) {
            Ok(Some(value)) if operation.checkpoint == Checkpoint::Full => {
                self.value.set(value);
                self.phase.set(Phase::Passing);
                if let Some(s) = self.task_state() {
                    s.scope.set_holds(true);
                }
                Ok(Step::Yield(Obj::none()))
            }
            Ok(Some(value)) => {
                self.value.set(value);
                Ok(Step::Return(self.finish()))
            }
            Ok(None) => Ok(Step::Yield(self.as_obj())),
            Err(Raised) => {
                let exc = take_raised();
                drop(self.finish());
                Err(exc.map_or(Raised, raise_object))
            }
        }
    }

    /// An exception is thrown into the await; it goes on in the caller.
    fn interrupted(&self) -> R<()> {
        let phase = self.phase.get();
        if phase == Phase::Over {
            return Ok(());
        }
        let operation = self.operation();
        if phase == Phase::Queued {
            (operation.leave)(self);
        }
        if phase == Phase::Passing {
            if let Some(s) = self.task_state() {
                s.scope.set_holds(false);
            }
        }
        self.phase.set(Phase::Done);
        let result = match (phase, self.value.take()) {
            (Phase::Woken | Phase::Passing, Some(value)) => (operation.undo)(self, value),
            _ => Ok(()),
        };
        drop(self.finish());
        result
    }

    /// The task's wait is to end with a cancellation: True if it does.
    pub fn cancel(&self, message: Option<Obj>) -> R<bool> {
        if self.phase.get() != Phase::Queued {
            return Ok(false);
        }
        match self.operation().abort {
            None => (self.operation().leave)(self),
            Some(abort) => {
                // What it runs may wake the task, or come here again.
                if self.asked.replace(true) || !abort(self)? || self.phase.get() != Phase::Queued {
                    return Ok(false);
                }
            }
        }
        self.phase.set(Phase::Cancelled);
        let error = globals().cancelled_error;
        let exc = match message.filter(|m| !m.is_none()) {
            Some(message) => call(error, &[message.as_ptr()])?,
            None => call(error, &[])?,
        };
        if let (Some(task), Some(s)) = (self.task.obj(), self.task_state()) {
            task_step::schedule(task.as_ptr(), s, Some(exc))?;
        }
        Ok(true)
    }
}

/// Raises an exception here: what is being handled becomes its context.
#[cold]
fn raise_in_context(exc: Obj) -> Raised {
    // SAFETY: an exception, or else a TypeError is raised.
    unsafe { ffi::PyErr_SetObject(ffi::Py_TYPE(exc.as_ptr()).cast(), exc.as_ptr()) };
    Raised
}

/// An awaitable that is done already, however often it is awaited.
pub fn nothing() -> R<Obj> {
    static NOTHING: Operation = Operation {
        name: "__aexit__",
        checkpoint: Checkpoint::No,
        attempt: |_| Ok(Some(Obj::none())),
        leave: |_| (),
        abort: None,
        undo: |_, _| Ok(()),
    };
    let wait = new(&NOTHING, std::ptr::null_mut(), None)?;
    st(wait.as_ptr()).phase.set(Phase::Over);
    Ok(wait)
}

// ---- the type -----------------------------------------------------------------------------------------------------

unsafe extern "C" fn tp_iternext(o: *mut PyObject) -> *mut PyObject {
    awaiting::iternext(|| st(o).step())
}

unsafe extern "C" fn am_send(o: *mut PyObject, _: *mut PyObject, out: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: the interpreter passes a valid place.
    unsafe { awaiting::am_send(out, || st(o).step()) }
}

unsafe extern "C" fn m_send(o: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    awaiting::send(|| st(o).step())
}

fn throw(o: *mut PyObject, args: Args) -> R<Obj> {
    let exc = crate::raw::future_iter::thrown(&args)?;
    st(o).interrupted()?;
    Err(raise_object(exc))
}

fn close(o: *mut PyObject) -> R<Obj> {
    st(o).interrupted()?;
    Ok(Obj::none())
}

fn cancel(o: *mut PyObject, args: Args) -> R<Obj> {
    let [message] = args.fit("cancel", ["msg"], 1, 0)?;
    // SAFETY: null or alive.
    let message = (!message.is_null()).then(|| unsafe { Obj::borrowed(message) });
    Ok(Obj::bool(st(o).cancel(message)?))
}

fn itself(o: *mut PyObject) -> R<Obj> {
    // SAFETY: alive.
    Ok(unsafe { Obj::borrowed(o) })
}

fast_method!(m_throw, throw);
fast_method!(m_cancel, cancel);
plain_method!(m_close, close);
plain_method!(m_await, itself);
plain_method!(m_done, |o: *mut PyObject| Ok(Obj::bool(!st(o).is_queued())));
getter!(g_name, |o| Obj::str(st(o).operation().name));

unsafe extern "C" fn tp_repr(o: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || {
        let wait = st(o);
        Obj::str(&format!("<{}(), {:?}>", wait.operation().name, wait.phase.get()).to_lowercase()).map(Obj::into_ptr)
    })
}

unsafe extern "C" fn tp_traverse(o: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    let wait = st(o);
    // SAFETY: the collector's visitor; a heap type's instances visit their type.
    unsafe {
        let mut r = visit(ffi::Py_TYPE(o).cast(), arg);
        for slot in [&wait.owner, &wait.payload, &wait.queue, &wait.task, &wait.value] {
            if r == 0 {
                r = slot.visit(visit, arg);
            }
        }
        r
    }
}

fn clear(wait: &Wait) {
    if wait.phase.get() == Phase::Queued {
        (wait.operation().leave)(wait);
    }
    wait.phase.set(Phase::Done);
    let held = (wait.owner.take(), wait.payload.take(), wait.queue.take(), wait.task.take(), wait.value.take());
    drop(held);
}

unsafe extern "C" fn tp_clear(o: *mut PyObject) -> c_int {
    clear(st(o));
    0
}

/// Python warns of a coroutine that nobody awaited; so do we.
#[cold]
fn warn_never_awaited(wait: &Wait) {
    let saved = take_raised();
    let text = format!("coroutine '{}' was never awaited\0", wait.operation().name);
    // SAFETY: a C string; RuntimeWarning is alive.
    if unsafe { ffi::PyErr_WarnEx(ffi::PyExc_RuntimeWarning, text.as_ptr().cast(), 1) } != 0 {
        write_unraisable(std::ptr::null_mut());
    }
    if let Some(saved) = saved {
        raise_object(saved);
    }
}

unsafe extern "C" fn tp_dealloc(o: *mut PyObject) {
    // SAFETY: reference count zero; the memory goes to the free list or back to the allocator. While Python's warning code runs
    // the object is untracked and nobody can find it.
    unsafe {
        ffi::PyObject_GC_UnTrack(o.cast());
        let wait = st(o);
        if wait.phase.get() == Phase::New && wait.operation.get().is_some() {
            warn_never_awaited(wait);
        }
        clear(wait);
        let class = ffi::Py_TYPE(o);
        let free = &mut *FREE.0.get();
        if free.len() < KEEP {
            free.push(o);
        } else {
            ffi::PyObject_GC_Del(o.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

pub fn make_type() -> R<()> {
    let class = Definition {
        name: c"segue._core.Wait",
        size: std::mem::size_of::<Wait>(),
        flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION,
        slots: vec![
            slot(ffi::Py_tp_dealloc, tp_dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, tp_traverse as *mut c_void),
            slot(ffi::Py_tp_clear, tp_clear as *mut c_void),
            slot(ffi::Py_tp_repr, tp_repr as *mut c_void),
            slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
            slot(ffi::Py_am_await, ffi::PyObject_SelfIter as *mut c_void),
            slot(ffi::Py_tp_iternext, tp_iternext as *mut c_void),
            slot(ffi::Py_am_send, am_send as *mut c_void),
        ],
        methods: vec![
            one_arg(c"send", m_send, c"Resume the await; the value is ignored."),
            fast(c"throw", m_throw, c"Raise an exception in the await."),
            no_args(c"close", m_close, c"Give up waiting."),
            no_args(c"__await__", m_await, c"Itself."),
            fast(
                c"cancel",
                m_cancel,
                c"cancel($self, /, msg=None)\n--\n\nEnd the wait with a cancellation; False if it is over already.",
            ),
            no_args(c"done", m_done, c"Whether the wait is over."),
        ],
        attributes: vec![attribute(c"__name__", g_name, None), attribute(c"__qualname__", g_name, None)],
    }
    .build(None)?;
    // SAFETY: under the import lock, before the first instance exists.
    unsafe { TYPE = class };
    Ok(())
}
