//! What the hand-built types need from Python: interned names, asyncio's classes and functions, our own types.
//! Filled once when the module is imported; everything in it lives as long as the process.

use std::cell::UnsafeCell;

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::obj::{getattr, Obj, R};

macro_rules! names {
    ($($field:ident = $text:literal),* $(,)?) => {
        /// Interned strings.
        pub struct Names { $(pub $field: *mut PyObject),* }
        impl Names {
            fn new() -> R<Self> {
                $(
                    // SAFETY: a C string; the reference is kept forever.
                    let $field = unsafe { Obj::owned(ffi::PyUnicode_InternFromString(concat!($text, "\0").as_ptr().cast()))? };
                )*
                Ok(Names { $($field: $field.into_ptr()),* })
            }
        }
    };
}
// A macro so that a name's field and text stand in one line.
names! {
    call_soon = "call_soon", call_exception_handler = "call_exception_handler", get_debug = "get_debug",
    is_running = "is_running", context = "context", msg = "msg", cancel = "cancel", throw = "throw",     get_loop = "get_loop", loop_ = "_loop", blocking = "_asyncio_future_blocking",
    add_done_callback = "add_done_callback", result = "result", message = "message", exception = "exception",
    future = "future", task = "task", source_traceback = "source_traceback", close = "close",
    callback_slot = "_callback", args_slot = "_args", cancelled_slot = "_cancelled", source_slot = "_source_traceback",
    repr_slot = "_repr", context_slot = "_context", when_slot = "_when", run = "_run", context_run = "run", scheduled_slot = "_scheduled",
    cancelled = "cancelled",
    extra_slot = "_extra", data_received = "data_received", eof_received = "eof_received",
    connection_made = "connection_made", connection_lost = "connection_lost", pause_writing = "pause_writing",
    resume_writing = "resume_writing", get_buffer = "get_buffer", buffer_updated = "buffer_updated",
        attach = "_attach", detach = "_detach", set_result = "set_result", set_exception = "set_exception",
    protocol = "protocol", transport = "transport", qualname = "__qualname__", name = "__name__",
    datagram_received = "datagram_received", error_received = "error_received", sendto = "sendto",
    callback_failed = "_callback_failed",
    feed_data = "feed_data", wakeup_waiter = "_wakeup_waiter", stream_reader = "_stream_reader",
    stream_reader_wr = "_stream_reader_wr", eof = "_eof", buffer = "_buffer", waiter = "_waiter", limit = "_limit",
    paused = "_paused", transport_slot = "_transport", pause_reading = "pause_reading",
    f_lasti = "f_lasti", tag = "cancellation",
    before_wait = "_before_wait", after_wait = "_after_wait", task_hook = "_task_hook",
    write = "write", time = "time", call_at = "call_at", dict = "__dict__", call_connection_lost = "_call_connection_lost", start_reading = "_start_reading",
}

/// How coroutines, generators and asynchronous generators call their code, their frame and what they await.
pub struct AwaitNames {
    pub code: *mut PyObject,
    pub frame: *mut PyObject,
    pub awaited: *mut PyObject,
}

impl AwaitNames {
    fn new(code: &str, frame: &str, awaited: &str) -> R<Self> {
        let [code, frame, awaited] = [Obj::name(code)?, Obj::name(frame)?, Obj::name(awaited)?].map(Obj::into_ptr);
        Ok(AwaitNames { code, frame, awaited })
    }
}

/// See the module.
pub struct Globals {
    pub names: Names,
    pub await_names: [AwaitNames; 3],
    /// `("context",)`, `("msg",)`: keyword names for vectorcalls.
    pub kw_context: *mut PyObject,
    pub kw_msg: *mut PyObject,
    pub empty_tuple: *mut PyObject,

    pub cancelled_error: *mut PyObject,
    pub invalid_state_error: *mut PyObject,
    pub get_event_loop: *mut PyObject,
    pub future_repr: *mut PyObject,
    pub task_repr: *mut PyObject,
    pub task_get_stack: *mut PyObject,
    pub task_print_stack: *mut PyObject,
    pub iscoroutine: *mut PyObject,
    pub extract_stack: *mut PyObject,
    pub buffered_protocol: *mut PyObject,
    pub transport_socket: *mut PyObject,
    pub set_result_unless_cancelled: *mut PyObject,
    /// A function in Python that does nothing: the interpreter does its own chores when it is called.
    pub python_function: *mut PyObject,
    pub logger: *mut PyObject,
    pub c_future: *mut PyTypeObject,
    pub c_task: *mut PyTypeObject,
    pub handle_base: *mut PyTypeObject,
    pub timer_base: *mut PyTypeObject,
    /// What `call_soon_threadsafe` returns.
    #[cfg(Py_3_14)]
    pub thread_safe_handle: *mut PyObject,

    pub future_type: *mut PyTypeObject,
    pub task_type: *mut PyTypeObject,
    pub iter_type: *mut PyTypeObject,
    pub handle_type: *mut PyTypeObject,
    pub timer_type: *mut PyTypeObject,
    pub loop_type: *mut PyTypeObject,
    pub registry: super::registry::Registry,
    pub handle_layout: super::handle::Layout,
    /// None on an interpreter whose contexts look different.
    pub context_layout: Option<super::contexts::Layout>,
    pub loops: crate::event_loop::Loops,
    pub loops_with_notes: crate::structured::start::Loops,
    /// None where asyncio's streams aren't what we know.
    pub streams: Option<crate::transport::streams::Originals>,
}

struct Place(UnsafeCell<Option<Globals>>);
// SAFETY: written once, while the module is imported under the GIL, and only read afterwards.
unsafe impl Sync for Place {}

static GLOBALS: Place = Place(UnsafeCell::new(None));

/// The globals. Everything that can call this was reached through an imported module.
#[inline(always)]
pub fn globals() -> &'static Globals {
    // SAFETY: see `Place`; `init` has run before any type of ours exists.
    unsafe { (*GLOBALS.0.get()).as_ref().unwrap_unchecked() }
}

pub fn import(module: &str) -> R<Obj> {
    let name = Obj::str(module)?;
    // SAFETY: a live string.
    unsafe { Obj::owned(ffi::PyImport_Import(name.as_ptr())) }
}

fn python_function() -> R<Obj> {
    // SAFETY: at import, attached.
    let py = unsafe { pyo3::Python::assume_attached() };
    Ok(py.eval(c"lambda: None", None, None)?.into())
}

pub fn attr(obj: &Obj, name: &str) -> R<Obj> {
    getattr(obj.as_ptr(), Obj::name(name)?.as_ptr())
}

/// Fills everything and creates the types. Called once, by the module's init.
pub fn init(loop_type: *mut PyTypeObject) -> R<()> {
    // SAFETY: the import lock makes this the only writer.
    if unsafe { (*GLOBALS.0.get()).is_some() } {
        return Ok(());
    }
    let names = Names::new()?;
    let exceptions = import("asyncio.exceptions")?;
    let events = import("asyncio.events")?;
    let base_futures = import("asyncio.base_futures")?;
    let base_tasks = import("asyncio.base_tasks")?;
    let coroutines = import("asyncio.coroutines")?;
    let format_helpers = import("asyncio.format_helpers")?;
    let c = import("_asyncio")?;
    let null: *mut PyTypeObject = std::ptr::null_mut();
    // 3.11 keeps the check for a missing loop in `_get_event_loop`; later versions have only `get_event_loop`.
    let get_event_loop = attr(&events, "get_event_loop")?;
    let handle_base: *mut PyTypeObject = attr(&events, "Handle")?.into_ptr().cast();
    let timer_base: *mut PyTypeObject = attr(&events, "TimerHandle")?.into_ptr().cast();
    let g = Globals {
        await_names: [
            AwaitNames::new("cr_code", "cr_frame", "cr_await")?,
            AwaitNames::new("gi_code", "gi_frame", "gi_yieldfrom")?,
            AwaitNames::new("ag_code", "ag_frame", "ag_await")?,
        ],
        kw_context: Obj::tuple(&[names.context])?.into_ptr(),
        kw_msg: Obj::tuple(&[names.msg])?.into_ptr(),
        empty_tuple: Obj::tuple(&[])?.into_ptr(),
        cancelled_error: attr(&exceptions, "CancelledError")?.into_ptr(),
        invalid_state_error: attr(&exceptions, "InvalidStateError")?.into_ptr(),
        get_event_loop: get_event_loop.into_ptr(),
        future_repr: attr(&base_futures, "_future_repr")?.into_ptr(),
        task_repr: attr(&base_tasks, "_task_repr")?.into_ptr(),
        task_get_stack: attr(&base_tasks, "_task_get_stack")?.into_ptr(),
        task_print_stack: attr(&base_tasks, "_task_print_stack")?.into_ptr(),
        iscoroutine: attr(&coroutines, "iscoroutine")?.into_ptr(),
        buffered_protocol: attr(&import("asyncio.protocols")?, "BufferedProtocol")?.into_ptr(),
        transport_socket: attr(&import("asyncio.trsock")?, "TransportSocket")?.into_ptr(),
        set_result_unless_cancelled: attr(&import("asyncio.futures")?, "_set_result_unless_cancelled")?.into_ptr(),
        python_function: python_function()?.into_ptr(),
        logger: attr(&import("asyncio.log")?, "logger")?.into_ptr(),
        extract_stack: attr(&format_helpers, "extract_stack")?.into_ptr(),
        c_future: attr(&c, "Future")?.into_ptr().cast(),
        c_task: attr(&c, "Task")?.into_ptr().cast(),
        handle_base,
        timer_base,
        #[cfg(Py_3_14)]
        thread_safe_handle: attr(&events, "_ThreadSafeHandle")?.into_ptr(),
        future_type: null,
        task_type: null,
        iter_type: null,
        handle_type: null,
        timer_type: null,
        loop_type,
        registry: super::registry::Registry::new(&c)?,
        handle_layout: super::handle::Layout::new(handle_base, timer_base, &names)?,
        context_layout: super::contexts::find_layout()?,
        loops: Default::default(),
        loops_with_notes: Default::default(),
        streams: crate::transport::streams::Originals::find(&names)?,
        names,
    };
    // SAFETY: still the only writer; nothing has read yet.
    let g = unsafe { (*GLOBALS.0.get()).insert(g) };
    g.iter_type = super::future_iter::make_type()?;
    g.future_type = super::future::make_type(g)?;
    g.task_type = super::task::make_type(g)?;
    (g.handle_type, g.timer_type) = super::handle::make_types(g)?;
    crate::transport::methods::make_type(g)?;
    crate::transport::datagram_methods::make_type()?;
    Ok(())
}

/// Text of `repr(obj)`, for error messages.
pub fn repr(obj: *mut PyObject) -> String {
    // SAFETY: alive; an object whose repr fails is named by its type instead.
    unsafe {
        match Obj::owned(ffi::PyObject_Repr(obj)).and_then(|r| super::args::text_of(r.as_ptr()).map(str::to_owned)) {
            Ok(text) => text,
            Err(_) => {
                super::obj::forget_raised();
                format!("<{} object>", std::ffi::CStr::from_ptr((*ffi::Py_TYPE(obj)).tp_name).to_string_lossy())
            }
        }
    }
}
