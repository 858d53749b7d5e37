//! Which line is the program's own: of the code that starts a task, of a coroutine that waits, and of a traceback.
//!
//! The nearest caller in the program's own code, else in a library (the standard library's and what pip installs); what
//! runs the loop, and its own code, are not looked at. `recorder.rs` asks; nothing is looked up with no recorder attached.
//! `raw/frames.rs` says where the code is; here is what is known of a place by the address of its instruction, so that its words
//! are made once.

use std::cell::{Cell, RefCell};
use std::fmt;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;
use trace::by_address::ByAddress;
use trace::tasks::Text;

use crate::raw::frame_layout::{self, Ways};
use crate::raw::frame_objects;
use crate::raw::frames::Instruction;
use crate::raw::globals::globals;
use crate::raw::Obj;

/// Whose code it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Owner {
    #[default]
    Program,
    Library,
    /// asyncio's, Segue's or the interpreter's.
    Loop,
    /// ... and what is called from outside it to run the loop: callers beyond it started no task of a running loop.
    Runner,
}

impl From<Owner> for trace::event::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Program => trace::event::Owner::Program,
            Owner::Library => trace::event::Owner::Library,
            Owner::Loop | Owner::Runner => trace::event::Owner::Loop,
        }
    }
}

/// A place in words, when it gets its number; shown as "file:line function".
#[derive(Debug)]
pub struct Words {
    pub file: String,
    pub line: u32,
    pub function: String,
    pub owner: trace::event::Owner,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.file, self.line, self.function)
    }
}

/// How much is remembered of places and code objects (and how many are kept alive by it).
const REMEMBERED: usize = 10_000;

/// What is known of an instruction.
#[derive(Clone, Copy, Default)]
struct Known {
    /// 0 until somebody asks for it.
    number: Text,
    owner: Owner,
}

/// Whose files are.
#[derive(Clone, Debug)]
pub struct Owners {
    /// Where asyncio and Segue are, each with a "/" at the end.
    loops: Vec<String>,
    stdlib: String,
}

impl Owners {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let directory = |module: &str| -> PyResult<String> {
            let file: String = py.import(module)?.getattr("__file__")?.extract()?;
            Ok(file.rsplit_once('/').map_or(file.clone(), |(directory, _)| format!("{directory}/")))
        };
        let loops = vec![directory("asyncio")?, directory("segue")?];
        let stdlib = loops[0].trim_end_matches("asyncio/").to_owned();
        Ok(Owners { loops, stdlib })
    }

    pub fn of_file(&self, file: &str) -> trace::event::Owner {
        if file.starts_with("<frozen ") || self.loops.iter().any(|path| file.starts_with(path)) {
            trace::event::Owner::Loop
        } else if ["/site-packages/", "/dist-packages/"].iter().any(|part| file.contains(part))
            || file.starts_with(&self.stdlib)
        {
            trace::event::Owner::Library
        } else {
            trace::event::Owner::Program
        }
    }
}

pub struct Places {
    pub files: Owners,
    ways: Ways,
    /// By the address of the instruction.
    known: RefCell<ByAddress<Known>>,
    /// Whose code objects are, by their addresses.
    owners: RefCell<ByAddress<Owner>>,
    /// The code objects, which are kept alive: no other is at their address, nor another instruction in them.
    code: RefCell<Vec<Obj>>,
    full: Cell<bool>,
}

impl Places {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Places {
            files: Owners::new(py)?,
            ways: frame_layout::find(py)?.clone(),
            known: RefCell::default(),
            owners: RefCell::default(),
            code: RefCell::default(),
            full: Cell::new(false),
        })
    }

    /// From now on no frame is read: as on an interpreter whose frames look different.
    pub fn ask_the_api(&mut self) {
        self.ways.layout = None;
    }

    /// What a coroutine is called, borrowed from it; null if it is none of the interpreter's.
    ///
    /// # Safety
    /// It is alive.
    #[inline]
    pub unsafe fn coroutines_name(&self, o: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise; the getter is for this type.
        unsafe {
            match &self.ways.coroutines_name {
                Some(name) if ffi::PyCoro_CheckExact(o) != 0 => name.call(o),
                _ => std::ptr::null_mut(),
            }
        }
    }

    /// Where the running code starts a task, as `number` numbers the place; 0 if that is nowhere.
    #[inline]
    pub fn caller(&self, loop_is_running: bool, number: impl FnOnce(&Words) -> Text) -> Text {
        self.forget_when_full();
        match &self.ways.layout {
            Some(layout) => self.nearest(layout.running().map(|at| (at, ())), loop_is_running, number),
            None => self.nearest(frame_objects::running(), loop_is_running, number),
        }
    }

    /// Each instruction comes with what keeps its code alive, if anything has to.
    #[inline]
    fn nearest<K>(
        &self,
        frames: impl Iterator<Item = (Instruction, K)>,
        loop_is_running: bool,
        number: impl FnOnce(&Words) -> Text,
    ) -> Text {
        let mut in_library = None;
        for (at, keeps) in frames {
            let known = self.known(at);
            match known.owner {
                Owner::Program => return self.numbered(at, known, number),
                Owner::Runner if loop_is_running => break,
                Owner::Library if in_library.is_none() => in_library = Some((at, known, keeps)),
                _ => {}
            }
        }
        in_library.map_or(0, |(at, known, _keeps)| self.numbered(at, known, number))
    }

    /// Where a suspended coroutine waits: the innermost line of the program's own in the chain of what it awaits, else the
    /// outermost line, as `number` numbers the place; 0 if that is nowhere.
    ///
    /// # Safety
    /// It is alive, and doesn't run meanwhile.
    #[inline]
    pub unsafe fn waits_at(&self, coroutine: *mut PyObject, number: impl FnOnce(&Words) -> Text) -> Text {
        // SAFETY: the caller's promise.
        unsafe { self.waits_at_in(coroutine, number) }.0
    }

    /// The same, with the code that was called there, borrowed from the coroutine; null if nothing was.
    ///
    /// # Safety
    /// As [`Places::waits_at`].
    #[inline]
    pub unsafe fn waits_at_in(
        &self,
        coroutine: *mut PyObject,
        number: impl FnOnce(&Words) -> Text,
    ) -> (Text, *mut PyObject) {
        self.forget_when_full();
        let mut called = std::ptr::null_mut();
        // SAFETY: the caller's promise.
        let found = unsafe { self.innermost(coroutine, &mut called) };
        (found.map_or(0, |(at, known, _keeps)| self.numbered(at, known, number)), called)
    }

    /// As [`Places::waits_at`], in words: "file:line function", or "".
    pub fn suspended_at(&self, coroutine: &Bound<'_, PyAny>) -> String {
        self.forget_when_full();
        // SAFETY: alive; this thread is here and not in the coroutine.
        let found = unsafe { self.innermost(coroutine.as_ptr(), &mut std::ptr::null_mut()) };
        found.map_or_else(String::new, |(at, known, _keeps)| words(at, known.owner).to_string())
    }

    /// With what keeps its code alive, if anything has to. `called` becomes the code that was called there.
    ///
    /// # Safety
    /// As [`Places::waits_at`].
    #[inline]
    unsafe fn innermost(
        &self,
        coroutine: *mut PyObject,
        called: &mut *mut PyObject,
    ) -> Option<(Instruction, Known, Option<Obj>)> {
        let mut found = None;
        let mut rest = coroutine;
        if let Some(layout) = &self.ways.layout {
            // SAFETY: the caller's promise.
            let mut frames = unsafe { layout.suspended(coroutine) };
            for at in frames.by_ref() {
                let known = self.known(at);
                if found.is_none() || known.owner == Owner::Program {
                    found = Some((at, known));
                    *called = std::ptr::null_mut();
                } else if called.is_null() {
                    *called = at.code;
                }
            }
            rest = frames.rest();
        }
        // SAFETY: null, or alive as the coroutine keeps what it awaits.
        unsafe {
            let is_leaf = rest.is_null() || ffi::Py_TYPE(rest) == globals().iter_type;
            if !is_leaf && frame_objects::is_like_a_coroutine(rest) {
                return self.innermost_through_api(found, Obj::borrowed(rest));
            }
        }
        found.map(|(at, known)| (at, known, None))
    }

    #[cold]
    fn innermost_through_api(
        &self,
        above: Option<(Instruction, Known)>,
        rest: Obj,
    ) -> Option<(Instruction, Known, Option<Obj>)> {
        let mut found = above.map(|(at, known)| (at, known, None));
        for (at, code) in frame_objects::suspended(rest, &self.ways.wrappers) {
            let known = self.known(at);
            if found.is_none() || known.owner == Owner::Program {
                found = Some((at, known, Some(code)));
            }
        }
        found
    }

    #[inline(always)]
    fn known(&self, at: Instruction) -> Known {
        let known = self.known.borrow().get(at.at);
        known.unwrap_or_else(|| self.first_seen(at))
    }

    #[cold]
    fn first_seen(&self, at: Instruction) -> Known {
        // SAFETY: alive.
        let code = unsafe { Obj::borrowed(at.code) };
        let known = Known { number: 0, owner: self.owner(&code) };
        self.known.borrow_mut().insert(at.at, known);
        self.full.set(self.known.borrow().len() >= REMEMBERED || self.full.get());
        known
    }

    #[inline(always)]
    fn numbered(&self, at: Instruction, known: Known, number: impl FnOnce(&Words) -> Text) -> Text {
        match known.number {
            0 => self.first_numbered(at, known, number),
            known => known,
        }
    }

    #[cold]
    fn first_numbered(&self, at: Instruction, known: Known, number: impl FnOnce(&Words) -> Text) -> Text {
        let number = number(&words(at, known.owner));
        self.known.borrow_mut().insert(at.at, Known { number, ..known });
        number
    }

    /// Whether asyncio or Segue wrote it.
    pub fn is_of_the_loop(&self, code: &Obj) -> bool {
        self.forget_when_full();
        matches!(self.owner(code), Owner::Loop | Owner::Runner)
    }

    /// The deepest line of the program's own code in a traceback, else the outermost, as "file:line function".
    pub fn raised_at(&self, exc: &Bound<'_, PyAny>) -> PyResult<String> {
        let mut traceback = exc.getattr("__traceback__")?;
        let mut deepest = None;
        self.forget_when_full();
        while !traceback.is_none() {
            let code = Obj::from(traceback.getattr("tb_frame")?.getattr("f_code")?);
            if deepest.is_none() || self.owner(&code) == Owner::Program {
                deepest = Some((code, traceback.getattr("tb_lineno")?.extract()?));
            }
            traceback = traceback.getattr("tb_next")?;
        }
        Ok(deepest.map_or_else(String::new, |(code, line): (Obj, i32)| {
            format!("{}:{line} {}", attribute(&code, "co_filename"), attribute(&code, "co_qualname"))
        }))
    }

    fn owner(&self, code: &Obj) -> Owner {
        let key = code.as_ptr() as usize;
        if let Some(owner) = self.owners.borrow().get(key) {
            return owner;
        }
        let owner = match self.files.of_file(&attribute(code, "co_filename")) {
            trace::event::Owner::Program => Owner::Program,
            trace::event::Owner::Library => Owner::Library,
            trace::event::Owner::Loop => match attribute(code, "co_name").as_str() {
                "run" | "run_until_complete" | "run_forever" | "_run_once" => Owner::Runner,
                _ => Owner::Loop,
            },
        };
        self.owners.borrow_mut().insert(key, owner);
        self.code.borrow_mut().push(code.clone());
        self.full.set(self.code.borrow().len() >= REMEMBERED || self.full.get());
        owner
    }

    /// Never between two frames that are looked at: letting go of code may run what was to be told of it.
    #[inline(always)]
    fn forget_when_full(&self) {
        if self.full.get() {
            self.forget();
        }
    }

    #[cold]
    fn forget(&self) {
        self.full.set(false);
        self.known.take();
        self.owners.take();
        let code = self.code.take();
        drop(code); // after the list was given back
    }
}

fn words(at: Instruction, owner: Owner) -> Words {
    // SAFETY: alive.
    let code = unsafe { Obj::borrowed(at.code) };
    let (file, function) = (attribute(&code, "co_filename"), attribute(&code, "co_qualname"));
    Words { file, line: at.line(), function, owner: owner.into() }
}

/// A code object's attribute: a string that is never missing. Paths that are no text come with replacement characters.
fn attribute(code: &Obj, name: &str) -> String {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let found =
        code.bound(py).getattr(name).and_then(|text| Ok(text.cast_into::<PyString>()?.to_string_lossy().into()));
    found.unwrap_or_else(|e| {
        e.write_unraisable(py, Some(&code.bound(py)));
        String::new()
    })
}
