//! Which line is the program's own: of the code that starts a task, and of a traceback.
//!
//! The nearest caller in the program's own code, else in a library (the standard library's and what pip installs); what
//! runs the loop, and its own code, are not looked at. `recorder.rs` asks; nothing is looked up with no recorder attached.

use std::cell::RefCell;

use pyo3::ffi;
use pyo3::prelude::*;
use trace::by_number::ByNumber;
use trace::tasks::Text;

use crate::raw::Obj;

/// Whose code it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Program,
    Library,
    /// asyncio's, Segue's or the interpreter's.
    Loop,
    /// ... and what is called from outside it to run the loop: callers beyond it started no task of a running loop.
    Runner,
}

/// The frame of a coroutine, generator or asynchronous generator, and what it awaits.
const AWAITS: [(&str, &str); 3] = [("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")];
/// How much is remembered of code objects (and how many are kept alive by it).
const REMEMBERED: usize = 10_000;

pub struct Places {
    /// Where asyncio and Segue are, each with a "/" at the end.
    loops: Vec<String>,
    stdlib: String,
    /// By the code object's address; each is kept alive.
    owners: RefCell<ByNumber<usize, (Owner, Obj)>>,
    /// By the code object's address and the instruction; each is kept alive.
    known: RefCell<ByNumber<(usize, i32), (Text, Obj)>>,
}

impl Places {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let directory = |module: &str| -> PyResult<String> {
            let file: String = py.import(module)?.getattr("__file__")?.extract()?;
            Ok(file.rsplit_once('/').map_or(file.clone(), |(directory, _)| format!("{directory}/")))
        };
        let loops = vec![directory("asyncio")?, directory("segue")?];
        let stdlib = loops[0].trim_end_matches("asyncio/").to_owned();
        Ok(Places { loops, stdlib, owners: RefCell::default(), known: RefCell::default() })
    }

    /// Where the running code starts a task, as "file:line function" numbered by `number`; 0 if that is nowhere.
    pub fn caller(&self, loop_is_running: bool, number: impl FnOnce(&str) -> Text) -> Text {
        // SAFETY: attached; a new reference or null.
        let mut frame = unsafe { Obj::from_nullable(ffi::PyThreadState_GetFrame(ffi::PyThreadState_Get()).cast()) };
        let mut in_library = None;
        while let Some(at) = frame {
            // SAFETY: a frame's code, a new reference; the frame is alive.
            let Some(code) = (unsafe { Obj::from_nullable(ffi::PyFrame_GetCode(at.as_ptr().cast()).cast()) }) else {
                break;
            };
            match self.owner(&code) {
                Owner::Program => return self.place(&at, code, number),
                Owner::Runner if loop_is_running => break,
                Owner::Library if in_library.is_none() => in_library = Some((at.clone(), code)),
                _ => {}
            }
            // SAFETY: a new reference or null.
            frame = unsafe { Obj::from_nullable(ffi::PyFrame_GetBack(at.as_ptr().cast()).cast()) };
        }
        in_library.map_or(0, |(frame, code)| self.place(&frame, code, number))
    }

    fn place(&self, frame: &Obj, code: Obj, number: impl FnOnce(&str) -> Text) -> Text {
        // SAFETY: a live frame.
        let at = (code.as_ptr() as usize, unsafe { ffi::PyFrame_GetLasti(frame.as_ptr().cast()) });
        if let Some((text, _)) = self.known.borrow().get(&at) {
            return *text;
        }
        // SAFETY: a live frame.
        let line = unsafe { ffi::PyFrame_GetLineNumber(frame.as_ptr().cast()) };
        let text = number(&words(&code, line));
        forget_when_full(&self.known);
        self.known.borrow_mut().insert(at, (text, code));
        text
    }

    /// Whose code a file has.
    pub fn owner_of_file(&self, file: &str) -> trace::event::Owner {
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

    /// Whether asyncio or Segue wrote it.
    pub fn is_of_the_loop(&self, code: &Obj) -> bool {
        matches!(self.owner(code), Owner::Loop | Owner::Runner)
    }

    /// The deepest line of the program's own code in a traceback, else the outermost, as "file:line function".
    pub fn raised_at(&self, exc: &Bound<'_, PyAny>) -> PyResult<String> {
        let mut traceback = exc.getattr("__traceback__")?;
        let mut deepest = None;
        while !traceback.is_none() {
            let code = Obj::from(traceback.getattr("tb_frame")?.getattr("f_code")?);
            if deepest.is_none() || self.owner(&code) == Owner::Program {
                deepest = Some((code, traceback.getattr("tb_lineno")?.extract()?));
            }
            traceback = traceback.getattr("tb_next")?;
        }
        Ok(deepest.map_or_else(String::new, |(code, line)| words(&code, line)))
    }

    /// The deepest line of the program's own code in a chain of awaits, else the outermost, as "file:line function".
    pub fn suspended_at(&self, coroutine: Bound<'_, PyAny>) -> PyResult<String> {
        let mut at = coroutine;
        let mut deepest = None;
        'awaits: loop {
            for (frame, awaits) in AWAITS {
                let Some(frame) = at.getattr_opt(frame)?.filter(|f| !f.is_none()) else { continue };
                let code = Obj::from(frame.getattr("f_code")?);
                if deepest.is_none() || self.owner(&code) == Owner::Program {
                    deepest = Some((code, frame.getattr("f_lineno")?.extract::<Option<i32>>()?.unwrap_or(0)));
                }
                at = at.getattr(awaits)?;
                continue 'awaits;
            }
            return Ok(deepest.map_or_else(String::new, |(code, line)| words(&code, line)));
        }
    }

    fn owner(&self, code: &Obj) -> Owner {
        let key = code.as_ptr() as usize;
        if let Some((owner, _)) = self.owners.borrow().get(&key) {
            return *owner;
        }
        let file = attribute(code, "co_filename");
        let owner = if file.starts_with("<frozen ") || self.loops.iter().any(|path| file.starts_with(path)) {
            match attribute(code, "co_name").as_str() {
                "run" | "run_until_complete" | "run_forever" | "_run_once" => Owner::Runner,
                _ => Owner::Loop,
            }
        } else if ["/site-packages/", "/dist-packages/"].iter().any(|part| file.contains(part))
            || file.starts_with(&self.stdlib)
        {
            Owner::Library
        } else {
            Owner::Program
        };
        forget_when_full(&self.owners);
        self.owners.borrow_mut().insert(key, (owner, code.clone()));
        owner
    }
}

/// What is forgotten is dropped after the table is given back: nothing runs while it is borrowed.
fn forget_when_full<K, V>(table: &RefCell<ByNumber<K, V>>) {
    let full = table.borrow().len() >= REMEMBERED;
    if full {
        let old = table.take();
        drop(old);
    }
}

fn words(code: &Obj, line: i32) -> String {
    format!("{}:{line} {}", attribute(code, "co_filename"), attribute(code, "co_qualname"))
}

/// A code object's attribute: a string that is never missing. Paths that are no text come with replacement characters.
fn attribute(code: &Obj, name: &str) -> String {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    match code.bound(py).getattr(name) {
        Ok(text) => text.to_string(),
        Err(e) => {
            e.write_unraisable(py, Some(&code.bound(py)));
            String::new()
        }
    }
}
