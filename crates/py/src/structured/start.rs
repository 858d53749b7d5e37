//! Tasks that are started and haven't begun: notes in the ready queue.
//!
//! Who starts a hundred thousand tasks has none of them yet: a note says what to call, and the coroutine and the task are made when its
//! turn comes, in memory that the task before has just left. Whoever looks at the tasks before that (`child_tasks`,
//! `asyncio.all_tasks()`, closing the loop) gets them made at once, by [`make_all`], and so never sees a difference.
//!
//! Only what is certain to become a coroutine is noted ([`Facts::accepts`]): a plain async function, or a method that is one, with as many
//! arguments as it takes. Everything else is called at once, so that its errors are raised by `start_soon`. While somebody records tasks
//! or wants to hear of them, all are made at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::ffi::{self, PyObject};
use pyo3::PyTraverseError;

use super::nursery;
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::raw::globals::globals;
use crate::raw::obj::{call, function_of_method, getattr};
use crate::raw::{contexts, registry, Obj, Slot, R};

/// A task to be.
pub struct Start {
    function: Obj,
    args: Box<[Obj]>,
    /// What the task's context is copied from.
    context: Obj,
    nursery: Obj,
    /// As it was given; null if it wasn't.
    name: Slot,
    /// The task, if somebody wanted to see it before its turn.
    task: Slot,
    made: Cell<bool>,
}

/// What the queue holds.
pub type Note = Rc<Start>;

impl Start {
    pub fn function(&self) -> *mut PyObject {
        self.function.as_ptr()
    }

    /// Shows the references to the collector.
    pub fn visit(&self, f: &mut impl FnMut(&Obj) -> Result<(), PyTraverseError>) -> Result<(), PyTraverseError> {
        f(&self.function)?;
        self.args.iter().try_for_each(&mut *f)?;
        f(&self.context)?;
        f(&self.nursery)?;
        self.name.borrowed().map_or(Ok(()), &mut *f)?;
        self.task.borrowed().map_or(Ok(()), f)
    }
}

/// Notes that `function(*args)` is to be started in `nursery`, if that can be told to become a coroutine; else says no.
pub fn note(
    core: &LoopCore,
    nursery: *mut PyObject,
    function: *mut PyObject,
    args: &[*mut PyObject],
    name: *mut PyObject,
) -> R<bool> {
    if core.hooks.is_attached() || core.overrides.has_task_hook() || core.through_call_soon.get() || core.is_closed() {
        return Ok(false);
    }
    if !core.starts.facts.accepts(function, args.len())? || !registry::looking_is_noticed()? {
        return Ok(false);
    }
    let context = core.contexts.snapshot()?;
    // SAFETY: all alive, kept by the caller; null only where it says so.
    let start = unsafe {
        Start {
            function: Obj::borrowed(function),
            args: args.iter().map(|&arg| Obj::borrowed(arg)).collect(),
            context,
            nursery: Obj::borrowed(nursery),
            name: Slot::default(),
            task: Slot::default(),
            made: Cell::new(false),
        }
    };
    if !name.is_null() {
        // SAFETY: alive.
        start.name.set(unsafe { Obj::borrowed(name) });
    }
    core.starts.count(core, 1);
    core.push(Job::Start(Rc::new(start)));
    Ok(true)
}

/// The note's turn has come: the task, for its first step. None if making it failed and its nursery knows.
pub fn begin(core: &LoopCore, start: &Start) -> R<Option<Obj>> {
    make(core, start)?;
    Ok(start.task.take())
}

/// Makes the task of a note, once.
fn make(core: &LoopCore, start: &Start) -> R<()> {
    if start.made.replace(true) {
        return Ok(());
    }
    core.starts.count(core, -1);
    // SAFETY: Obj is transparent over a non-null object pointer; the objects are alive for the call.
    let args = unsafe { &*(std::ptr::from_ref::<[Obj]>(&start.args) as *const [*mut PyObject]) };
    let made = call(start.function.as_ptr(), args).and_then(|coro| {
        let context = contexts::copy_of_snapshot(&start.context)?;
        nursery::begin_noted(core, &start.nursery, &start.function, coro, start.name.get(), &context)
    });
    start.task.replace(nursery::noted_is_made(&start.nursery, made)?);
    Ok(())
}

/// Makes the tasks of all notes of a loop. They keep their place in the queue.
#[cold]
pub fn make_all(core: &LoopCore) -> R<()> {
    if core.starts.noted.get() == 0 {
        return Ok(());
    }
    let mut notes: Vec<Note> = Vec::with_capacity(core.starts.noted.get());
    let seen = core.scheduler.ready.try_for_each(|job| {
        if let Job::Start(note) = job {
            notes.push(note.clone());
        }
        Ok::<(), std::convert::Infallible>(())
    });
    debug_assert_eq!(seen, Ok(true));
    notes.iter().try_for_each(|note| make(core, note))
}

/// The same for all loops: somebody looks at all tasks of the process.
pub fn make_all_everywhere() -> R<()> {
    let loops = &globals().loops_with_notes.0;
    let cores: Vec<*const LoopCore> = loops.borrow().clone();
    for core in cores {
        // Making tasks may run Python, in a finaliser, that closes a loop.
        if loops.borrow().contains(&core) {
            // SAFETY: a core that goes takes itself out of the list.
            make_all(unsafe { &*core })?;
        }
    }
    Ok(())
}

/// The loops that have notes, of all threads.
#[derive(Default)]
pub struct Loops(RefCell<Vec<*const LoopCore>>);

/// A loop's side of this.
#[derive(Default)]
pub struct Starts {
    noted: Cell<usize>,
    facts: Facts,
}

impl Starts {
    fn count(&self, core: &LoopCore, change: isize) {
        let before = self.noted.get();
        self.noted.set(before.saturating_add_signed(change));
        if before == 0 {
            globals().loops_with_notes.0.borrow_mut().push(core);
        } else if self.noted.get() == 0 {
            self.unlist(core);
        }
    }

    fn unlist(&self, core: &LoopCore) {
        globals().loops_with_notes.0.borrow_mut().retain(|&listed| !std::ptr::eq(listed, core));
    }

    /// The loop has dropped its jobs, or goes.
    pub fn forget(&self, core: &LoopCore) {
        if self.noted.replace(0) != 0 {
            self.unlist(core);
        }
    }
}

/// What calling a function with a number of arguments is going to do.
#[derive(Default)]
struct Facts {
    /// Those of the functions that were started last. They hold their code objects, which hold no cycles.
    known: RefCell<Vec<Fact>>,
}

struct Fact {
    code: Obj,
    /// `async def`, and no generator.
    is_async: bool,
    positional: usize,
    /// `*args`.
    takes_more: bool,
    keyword_only: usize,
}

/// Programs start few different functions again and again.
const KNOWN: usize = 8;

impl Facts {
    /// Whether `function(*args)`, with so many, returns a coroutine and nothing else can happen.
    #[inline]
    fn accepts(&self, function: *mut PyObject, given: usize) -> R<bool> {
        let (function, given) = match function_of_method(function) {
            Some(function) => (function, given + 1),
            None => (function, given),
        };
        // SAFETY: alive; a function's parts are borrowed from it.
        unsafe {
            if ffi::PyFunction_Check(function) == 0 {
                return Ok(false);
            }
            let code = ffi::PyFunction_GetCode(function);
            let defaults = ffi::PyFunction_GetDefaults(function);
            let defaults = if defaults.is_null() { 0 } else { ffi::PyTuple_Size(defaults).max(0) as usize };
            let of_keywords = ffi::PyFunction_GetKwDefaults(function);
            let of_keywords = if of_keywords.is_null() { 0 } else { ffi::PyDict_Size(of_keywords).max(0) as usize };
            self.with(code, |fact| {
                fact.is_async
                    && given + defaults >= fact.positional
                    && (given <= fact.positional || fact.takes_more)
                    && of_keywords >= fact.keyword_only
            })
        }
    }

    #[inline]
    fn with<T>(&self, code: *mut PyObject, f: impl Fn(&Fact) -> T) -> R<T> {
        if let Some(fact) = self.known.borrow().iter().find(|fact| fact.code.as_ptr() == code) {
            return Ok(f(fact));
        }
        let fact = Fact::find(code)?;
        let answer = f(&fact);
        let mut known = self.known.borrow_mut();
        let old = (known.len() == KNOWN).then(|| known.remove(0));
        known.push(fact);
        drop(known);
        drop(old);
        Ok(answer)
    }
}

impl Fact {
    #[cold]
    fn find(code: *mut PyObject) -> R<Fact> {
        let number = |name: &str| -> R<usize> {
            let value = getattr(code, Obj::name(name)?.as_ptr())?;
            // SAFETY: an int of a code object.
            Ok(unsafe { ffi::PyLong_AsLong(value.as_ptr()) }.max(0) as usize)
        };
        let flags = number("co_flags")? as std::os::raw::c_int;
        Ok(Fact {
            // SAFETY: alive.
            code: unsafe { Obj::borrowed(code) },
            is_async: flags & ffi::CO_COROUTINE != 0,
            positional: number("co_argcount")?,
            takes_more: flags & ffi::CO_VARARGS != 0,
            keyword_only: number("co_kwonlyargcount")?,
        })
    }
}
