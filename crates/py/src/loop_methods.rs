//! The loop's hot methods, with the interpreter's fastest calling convention: scheduling, futures, tasks.

use pyo3::ffi::{self, PyObject, PyTypeObject};

use crate::event_loop::{parts, LoopCore};
use crate::fast_method;
use crate::job::Job;
use crate::raw::args::{text_of, Args};
use crate::raw::future;
use crate::raw::globals::{attr, globals, import};
use crate::raw::heap_type::{add_method, fast, no_args};
use crate::raw::obj::{call_kw, call_method, call_method_kw, type_error, Raised};
use crate::raw::task::FirstStep;
use crate::raw::{handle, task, Obj, R};

fn core<'a>(slf: *mut PyObject) -> &'a LoopCore {
    // SAFETY: these are methods of the class.
    unsafe { LoopCore::of_unchecked(slf) }
}

/// A call's callback with what belongs to it, borrowed; `leading` is the delay or time in front of it, if there is one.
struct Call<'a> {
    leading: *mut PyObject,
    callback: *mut PyObject,
    args: &'a [*mut PyObject],
    context: *mut PyObject,
}

/// Splits `([leading,] callback, *args, context=None)`; None for arguments that don't fit.
#[inline(always)]
fn split<'a>(args: &'a Args, leading: Option<&str>) -> R<Option<Call<'a>>> {
    let given = args.positional();
    let skip = usize::from(leading.is_some());
    // The shortest way for what nearly every call is: a callback, perhaps with arguments, no keyword.
    if given.len() > skip && !args.has_keywords() {
        let context = std::ptr::null_mut();
        return Ok(Some(Call { leading: given[0], callback: given[skip], args: &given[skip + 1..], context }));
    }
    split_keywords(args, leading)
}

#[cold]
fn split_keywords<'a>(args: &'a Args, leading: Option<&str>) -> R<Option<Call<'a>>> {
    let given = args.positional();
    let skip = usize::from(leading.is_some());
    let get = |i: usize| given.get(i).copied().unwrap_or(std::ptr::null_mut());
    let (mut first, mut callback, mut context) =
        (if skip == 1 { get(0) } else { std::ptr::null_mut() }, get(skip), std::ptr::null_mut());
    for (key, value) in args.keywords() {
        let key = text_of(key)?;
        let place = if leading == Some(key) {
            &mut first
        } else if key == "callback" {
            &mut callback
        } else if key == "context" {
            &mut context
        } else {
            return Ok(None);
        };
        if !place.is_null() {
            return Ok(None);
        }
        *place = value;
    }
    if callback.is_null() || leading.is_some() && first.is_null() {
        return Ok(None);
    }
    Ok(Some(Call { leading: first, callback, args: given.get(skip + 1..).unwrap_or(&[]), context }))
}

/// Hands a call on to asyncio's own method: for arguments that don't fit, which it refuses in its own words, and for what
/// is done differently by each version.
#[cold]
fn as_asyncio(slf: *mut PyObject, args: Args, method: &str) -> R<Obj> {
    let base = attr(&import("asyncio.base_events")?, "BaseEventLoop")?;
    let method = attr(&base, method)?;
    let mut all = vec![slf];
    all.extend_from_slice(args.positional());
    if !args.has_keywords() {
        return crate::raw::obj::call(method.as_ptr(), &all);
    }
    all.extend(args.keywords().map(|(_, v)| v));
    call_kw(method.as_ptr(), &all, args.names)
}

#[cold]
fn debug_checks(slf: *mut PyObject, core: &LoopCore, callback: *mut PyObject, method: &str, own_thread: bool) -> R<()> {
    if own_thread {
        parts::check_thread(core)?;
    }
    let name = Obj::name("_check_callback")?;
    let method = Obj::str(method)?;
    call_method(name.as_ptr(), &[slf, callback, method.as_ptr()]).map(drop)
}

#[inline(always)]
fn schedule(slf: *mut PyObject, args: Args, method: &str, own_thread: bool) -> R<Obj> {
    let core = core(slf);
    let Some(Call { callback, args: rest, context, .. }) = split(&args, None)? else {
        return as_asyncio(slf, args, method);
    };
    core.check_closed()?;
    if core.debug.get() {
        debug_checks(slf, core, callback, method, own_thread)?;
    }
    let handle = handle::new_pending(slf, callback, rest, core.contexts.given_or_copy(context)?)?;
    if core.debug.get() {
        handle::note_source(&handle)?;
    }
    core.push(Job::Handle(handle.clone()));
    core.show_unless_running(&handle);
    Ok(handle)
}

fn call_soon(slf: *mut PyObject, args: Args) -> R<Obj> {
    if core(slf).hooks.is_attached() {
        crate::recording::watching::scheduled(core(slf));
    }
    schedule(slf, args, "call_soon", true)
}

/// From 3.14 on its handle has a lock: what another thread asks of it waits while the callback runs.
#[cfg(Py_3_14)]
fn new_threadsafe(slf: *mut PyObject, args: Args) -> R<Obj> {
    let core = core(slf);
    let Some(Call { callback, args: rest, context, .. }) = split(&args, None)? else {
        return as_asyncio(slf, args, "call_soon_threadsafe");
    };
    core.check_closed()?;
    if core.debug.get() {
        debug_checks(slf, core, callback, "call_soon_threadsafe", false)?;
    }
    let rest = Obj::tuple(rest)?;
    let none = Obj::none();
    let context = if context.is_null() { none.as_ptr() } else { context };
    let handle = crate::raw::obj::call(globals().thread_safe_handle, &[callback, rest.as_ptr(), slf, context])?;
    if core.debug.get() {
        // Its own note ends in the class's `__init__`.
        handle::note_source(&handle)?;
    }
    core.push(Job::Handle(handle.clone()));
    Ok(handle)
}

fn call_soon_threadsafe(slf: *mut PyObject, args: Args) -> R<Obj> {
    #[cfg(Py_3_14)]
    let handle = new_threadsafe(slf, args)?;
    #[cfg(not(Py_3_14))]
    let handle = schedule(slf, args, "call_soon_threadsafe", false)?;
    core(slf).io.reactor.waker().wake();
    core(slf).hold_back_if_crowded();
    Ok(handle)
}

fn add_timer(
    slf: *mut PyObject,
    core: &LoopCore,
    when: Obj,
    callback: *mut PyObject,
    rest: &[*mut PyObject],
    context: *mut PyObject,
) -> R<Obj> {
    // SAFETY: alive; -1 with an error for what isn't a number.
    let seconds = unsafe { ffi::PyFloat_AsDouble(when.as_ptr()) };
    // SAFETY: attached.
    if seconds == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    let handle = handle::new_timer(slf, when, callback, rest, core.contexts.given_or_copy(context)?)?;
    if core.debug.get() {
        handle::note_source(&handle)?;
    }
    let token = core.scheduler.call_at(sched::clock::nanos_from_secs(seconds), Job::Timer(handle.clone()));
    handle::set_token(&handle, token);
    core.show_unless_running(&handle);
    Ok(handle)
}

fn is_none(p: *mut PyObject) -> bool {
    // SAFETY: comparing with None.
    p == unsafe { ffi::Py_None() }
}

fn call_later(slf: *mut PyObject, args: Args) -> R<Obj> {
    let Some(Call { leading: delay, callback, args: rest, context }) = split(&args, Some("delay"))? else {
        return as_asyncio(slf, args, "call_later");
    };
    let core = core(slf);
    if is_none(delay) {
        return Err(type_error("delay must not be None"));
    }
    let now = core.time_object()?;
    // SAFETY: alive; adds any number to the time, as Python's `+` does.
    let when = unsafe { Obj::owned(ffi::PyNumber_Add(now.as_ptr(), delay))? };
    if core.overrides.call_at() {
        return through_call_at(slf, when, callback, rest, context);
    }
    core.check_closed()?;
    if core.debug.get() {
        // asyncio's call_later goes through call_at, whose name its errors give.
        debug_checks(slf, core, callback, "call_at", true)?;
    }
    add_timer(slf, core, when, callback, rest, context)
}

/// `self.call_at(when, callback, *args, context=context)`, as asyncio's `call_later` does it.
#[cold]
fn through_call_at(
    slf: *mut PyObject,
    when: Obj,
    callback: *mut PyObject,
    rest: &[*mut PyObject],
    context: *mut PyObject,
) -> R<Obj> {
    let none = Obj::none();
    let mut all = vec![slf, when.as_ptr(), callback];
    all.extend_from_slice(rest);
    all.push(if context.is_null() { none.as_ptr() } else { context });
    call_method_kw(globals().names.call_at, &all, globals().kw_context)
}

fn call_at(slf: *mut PyObject, args: Args) -> R<Obj> {
    let Some(Call { leading: when, callback, args: rest, context }) = split(&args, Some("when"))? else {
        return as_asyncio(slf, args, "call_at");
    };
    let core = core(slf);
    if is_none(when) {
        return Err(type_error("when cannot be None"));
    }
    core.check_closed()?;
    if core.debug.get() {
        debug_checks(slf, core, callback, "call_at", true)?;
    }
    // SAFETY: alive.
    add_timer(slf, core, unsafe { Obj::borrowed(when) }, callback, rest, context)
}

fn create_future(slf: *mut PyObject) -> R<Obj> {
    future::new_on(core(slf), slf)
}

/// `create_task(coro, *, name=None, context=None)`, with `eager_start` where asyncio's takes it.
fn create_task(slf: *mut PyObject, args: Args) -> R<Obj> {
    let core = core(slf);
    let factory = parts::task_factory(core);
    let mut eager = false;
    if let Some(factory) = &factory {
        if !is_eager_factory(factory) {
            return create_task_as_asyncio(slf, args);
        }
        eager = true;
    }
    const NAMES: [&str; 4] = ["coro", "name", "context", "eager_start"];
    let Some([coro, name, context, eager_start]) = args.try_fit(NAMES, 1, 1)? else {
        return create_task_as_asyncio(slf, args);
    };
    core.check_closed()?;
    if !eager_start.is_null() {
        if !takes_eager_start()? {
            return create_task_as_asyncio(slf, args);
        }
        eager = crate::raw::obj::is_true(eager_start)?;
    }
    let first_step = if eager { FirstStep::Eager } else { FirstStep::Soon };
    task::new_on(core, &task::New { coro, loop_: slf, name, named_after: std::ptr::null_mut(), context, first_step })
}

/// Whether this interpreter's `create_task` passes further keywords on to the task: 3.14 and later releases of 3.13.
#[cold]
fn takes_eager_start() -> R<bool> {
    if cfg!(not(Py_3_13)) {
        return Ok(false);
    }
    const VARIABLE_KEYWORDS: std::os::raw::c_long = 0x08; // inspect.CO_VARKEYWORDS
    let base = attr(&import("asyncio.base_events")?, "BaseEventLoop")?;
    let flags = attr(&attr(&attr(&base, "create_task")?, "__code__")?, "co_flags")?;
    // SAFETY: alive; -1 with an error for what isn't an int.
    let flags = unsafe { ffi::PyLong_AsLong(flags.as_ptr()) };
    // SAFETY: attached.
    if flags == -1 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    Ok(flags & VARIABLE_KEYWORDS != 0)
}

#[cfg(Py_3_12)]
fn is_eager_factory(factory: &Obj) -> bool {
    static mut EAGER: *mut PyObject = std::ptr::null_mut();
    // SAFETY: under the GIL; kept forever once found.
    unsafe {
        if EAGER.is_null() {
            if let Ok(f) = import("asyncio.tasks").and_then(|m| attr(&m, "eager_task_factory")) {
                EAGER = f.into_ptr();
            } else {
                ffi::PyErr_Clear();
            }
        }
        factory.as_ptr() == EAGER
    }
}

#[cfg(not(Py_3_12))]
fn is_eager_factory(_: &Obj) -> bool {
    false
}

/// asyncio's own `create_task` knows how this interpreter calls a factory.
fn create_task_as_asyncio(slf: *mut PyObject, args: Args) -> R<Obj> {
    let made = as_asyncio(slf, args, "create_task")?;
    if core(slf).hooks.is_attached() && !task::is_ours(made.as_ptr()) {
        crate::recorder::made_by_factory(core(slf), slf, &made);
    }
    Ok(made)
}

fast_method!(m_call_soon, call_soon);
fast_method!(m_call_soon_threadsafe, call_soon_threadsafe);
fast_method!(m_call_later, call_later);
fast_method!(m_call_at, call_at);
fast_method!(m_create_task, create_task);
crate::plain_method!(m_create_future, create_future);

#[cfg(Py_3_13)]
const CREATE_TASK_DOC: &std::ffi::CStr = c"create_task($self, coro, *, name=None, context=None, eager_start=None)\n--\n\nSchedule a coroutine as a Task of this loop.";
#[cfg(not(Py_3_13))]
const CREATE_TASK_DOC: &std::ffi::CStr =
    c"create_task($self, coro, *, name=None, context=None)\n--\n\nSchedule a coroutine as a Task of this loop.";

/// Puts the methods on the class. Called once, by the module's init.
pub fn add_to(class: *mut PyTypeObject) -> R<()> {
    let _ = globals();
    for def in [
        fast(c"call_soon", m_call_soon, c"call_soon($self, callback, *args, context=None)\n--\n\nCall callback(*args) at the next turn of the loop, in order. Returns a Handle.\n\nNot thread-safe. Raises RuntimeError if the loop is closed."),
        fast(c"call_soon_threadsafe", m_call_soon_threadsafe, c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nLike call_soon, from any thread; wakes the loop if it waits."),
        fast(c"call_later", m_call_later, c"call_later($self, delay, callback, *args, context=None)\n--\n\nCall callback(*args) after delay seconds. Returns a TimerHandle; cancelling it frees it at once."),
        fast(c"call_at", m_call_at, c"call_at($self, when, callback, *args, context=None)\n--\n\nCall callback(*args) at loop.time() == when (seconds). Returns a TimerHandle."),
        fast(c"create_task", m_create_task, CREATE_TASK_DOC),
        no_args(c"create_future", m_create_future, c"Create a Future of this loop."),
    ]
    .into_iter()
    .chain(crate::sock_ops::methods())
    {
        add_method(class, def)?;
    }
    Ok(())
}
