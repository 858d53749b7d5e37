//! A place in Python code that is noted now and read later, if ever: where a scope was entered, where somebody cancelled.
//!
//! `places.rs` answers another question, for the recorders: which line is the program's own.

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use crate::raw::frames::Instruction;
use crate::raw::{frame_layout, frame_objects, Obj, Slot};

/// A code object and an offset in it.
pub struct Site {
    code: Obj,
    /// In bytes, as `f_lasti`.
    instruction: i32,
}

/// Whose code it is, as far as sites are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Others,
    Segue,
    /// The method from which the loop calls everything else.
    TheLoop,
}

impl Site {
    /// Where the running Python code is, Segue's own nurseries and timeouts left out; None outside of any, and if the loop
    /// itself has made the call: what stands around its `run_forever` has nothing to do with it.
    pub fn here() -> Option<Site> {
        match frame_layout::found().and_then(|ways| ways.layout.as_ref()) {
            Some(layout) => Self::nearest(layout.running().map(|at| (at, ()))),
            None => Self::nearest(frame_objects::running()),
        }
    }

    /// Each instruction comes with what keeps its code alive, if anything has to.
    #[inline(always)]
    fn nearest<K>(frames: impl Iterator<Item = (Instruction, K)>) -> Option<Site> {
        let mut own = None;
        for (at, keeps) in frames {
            match whose(at.code) {
                Whose::Others => return Some(Site::at(at)),
                Whose::TheLoop => return None,
                Whose::Segue => own = Some((at, keeps)),
            }
        }
        own.map(|(at, _keeps)| Site::at(at))
    }

    #[inline(always)]
    fn at(at: Instruction) -> Site {
        // SAFETY: alive, as its frame is.
        Site { code: unsafe { Obj::borrowed(at.code) }, instruction: at.offset() }
    }

    /// Where an exception was raised, as its traceback tells: the innermost line that isn't Segue's own.
    pub fn of_exception(exc: &Bound<'_, PyAny>) -> PyResult<Option<Site>> {
        let py = exc.py();
        let mut found = None;
        let mut tb = exc.getattr(intern!(py, "__traceback__"))?;
        while !tb.is_none() {
            let code = Obj::from(tb.getattr(intern!(py, "tb_frame"))?.getattr(intern!(py, "f_code"))?);
            if found.is_none() || whose(code.as_ptr()) == Whose::Others {
                let instruction = tb.getattr(intern!(py, "tb_lasti"))?.extract()?;
                found = Some(Site { code, instruction });
            }
            tb = tb.getattr(intern!(py, "tb_next"))?;
        }
        Ok(found)
    }

    pub fn file(&self, py: Python<'_>) -> PyResult<String> {
        self.code.bound(py).getattr(intern!(py, "co_filename"))?.extract()
    }

    pub fn line(&self) -> i32 {
        // SAFETY: a code object; any instruction offset is accepted.
        unsafe { ffi::PyCode_Addr2Line(self.code.as_ptr().cast(), self.instruction) }
    }

    pub fn text(&self, py: Python<'_>) -> PyResult<String> {
        let function: String = self.code.bound(py).getattr(intern!(py, "co_qualname"))?.extract()?;
        Ok(format!("{}:{} {function}", self.file(py)?, self.line()))
    }

    pub fn is_in(&self, code: &Py<PyAny>) -> bool {
        self.code.as_ptr() == code.as_ptr()
    }

    pub fn clone_ref(&self) -> Site {
        Site { code: self.code.clone(), instruction: self.instruction }
    }
}

/// The innermost function of Segue's own that runs, by its qualified name; None if the running code is others'.
pub fn running_of_segue(py: Python<'_>) -> Option<String> {
    let (code, _keeps) = match frame_layout::found().and_then(|ways| ways.layout.as_ref()) {
        Some(layout) => (layout.running().next()?.code, None),
        None => frame_objects::running().next().map(|(at, code)| (at.code, Some(code)))?,
    };
    if whose(code) == Whose::Others {
        return None;
    }
    // SAFETY: alive, as its frame is.
    let code = unsafe { Obj::borrowed(code) };
    code.bound(py).getattr(intern!(py, "co_qualname")).and_then(|name| name.extract()).ok()
}

/// Codes that were seen, each in the place that its address gives it: asked for every scope, most by the same few. They are kept
/// alive, so that no other code can have their address.
struct Seen([(Slot, std::cell::Cell<Whose>); 64]);
// SAFETY: touched with the GIL held only.
unsafe impl Sync for Seen {}
static SEEN: Seen = Seen([const { (Slot::new(), std::cell::Cell::new(Whose::Others)) }; 64]);

#[inline(always)]
fn whose(code: *mut PyObject) -> Whose {
    let (seen, whose) = &SEEN.0[(code as usize >> 5) % SEEN.0.len()];
    if seen.get() == code {
        return whose.get();
    }
    first_seen(code)
}

#[cold]
fn first_seen(code: *mut PyObject) -> Whose {
    // SAFETY: attached; the callers' code is alive.
    let (py, kept) = unsafe { (Python::assume_attached(), Obj::borrowed(code)) };
    let found = match (is_own_file(&kept.bound(py)), is_the_loop(&kept.bound(py))) {
        (_, true) => Whose::TheLoop,
        (true, _) => Whose::Segue,
        _ => Whose::Others,
    };
    let (seen, whose) = &SEEN.0[(code as usize >> 5) % SEEN.0.len()];
    let before = seen.replace(Some(kept));
    whose.set(found);
    drop(before); // after both are in place
    found
}

fn is_own_file(code: &Bound<'_, PyAny>) -> bool {
    let file = code.getattr(intern!(code.py(), "co_filename"));
    let file = file.as_ref().ok().and_then(|f| f.cast::<PyString>().ok()).and_then(|f| f.to_str().ok());
    file.is_some_and(|f| own_folder(code.py()).is_some_and(|folder| f.starts_with(folder)))
}

fn is_the_loop(code: &Bound<'_, PyAny>) -> bool {
    static RUN_FOREVER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = code.py();
    let found = RUN_FOREVER.get_or_try_init(py, || -> PyResult<_> {
        let class = py.import("segue._loop")?.getattr("EventLoop")?;
        Ok(class.getattr("run_forever")?.getattr("__code__")?.unbind())
    });
    found.is_ok_and(|found| code.is(found))
}

/// Where Segue's own Python code is, with a slash at the end.
fn own_folder(py: Python<'_>) -> Option<&str> {
    static FOLDER: PyOnceLock<String> = PyOnceLock::new();
    let folder = FOLDER.get_or_try_init(py, || -> PyResult<String> {
        let file: String = py.import("segue")?.getattr("__file__")?.extract()?;
        Ok(file.rsplit_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/")))
    });
    folder.ok().map(String::as_str).filter(|folder| !folder.is_empty())
}
