//! Frames and places for tests and counts, each asked in either way: by reading frames and through Python's API. Nothing else
//! calls it.

use std::cell::RefCell;

use pyo3::prelude::*;

use crate::places::Places;
use crate::raw::frame_layout;
use crate::raw::frame_objects;
use crate::raw::frames::Instruction;
use crate::raw::Obj;

/// A frame's code, `f_lasti` and line.
type Frame = (Py<PyAny>, i32, u32);

fn shown(py: Python<'_>, at: Instruction) -> Frame {
    // SAFETY: alive: of a frame that was just found.
    let code = unsafe { Obj::borrowed(at.code) };
    (code.bound(py).unbind(), at.offset().max(-1), at.line())
}

/// The running frames, or those of a coroutine and what it awaits. None where frames can't be read.
#[pyfunction(name = "_frames", signature = (coroutine = None, *, through_api = false))]
pub fn frames(py: Python<'_>, coroutine: Option<Bound<'_, PyAny>>, through_api: bool) -> PyResult<Option<Vec<Frame>>> {
    let ways = frame_layout::find(py)?;
    let mut found: Vec<Frame> = Vec::new();
    let mut rest = coroutine.as_ref().map(|o| Obj::from(o.clone()));
    match (&ways.layout, &coroutine) {
        (_, None) if through_api => found.extend(frame_objects::running().map(|(at, _code)| shown(py, at))),
        (_, Some(_)) if through_api => {}
        (None, _) => return Ok(None),
        (Some(layout), None) => found.extend(layout.running().map(|at| shown(py, at))),
        (Some(layout), Some(o)) => {
            // SAFETY: alive; this thread is here and not in the coroutine.
            let mut frames = unsafe { layout.suspended(o.as_ptr()) };
            found.extend(frames.by_ref().map(|at| shown(py, at)));
            let left = frames.rest();
            // SAFETY: alive as the coroutine keeps what it awaits.
            rest = (!left.is_null()).then(|| unsafe { Obj::borrowed(left) });
        }
    }
    if let Some(rest) = rest {
        found.extend(frame_objects::suspended(rest, &ways.wrappers).map(|(at, _code)| shown(py, at)));
    }
    Ok(Some(found))
}

/// Places with numbers from 1 on.
#[pyclass(frozen, name = "_Places", module = "segue._core")]
pub struct PlacesForTests {
    places: Places,
    words: RefCell<Vec<String>>,
}

// SAFETY: reached only with the GIL held (`gil_used = true`).
unsafe impl Sync for PlacesForTests {}
// SAFETY: as above.
unsafe impl Send for PlacesForTests {}

#[pymethods]
impl PlacesForTests {
    #[new]
    #[pyo3(signature = (*, through_api = false))]
    fn new(py: Python<'_>, through_api: bool) -> PyResult<Self> {
        let mut places = Places::new(py)?;
        if through_api {
            places.ask_the_api();
        }
        Ok(PlacesForTests { places, words: RefCell::default() })
    }

    /// Where the running code would start a task.
    fn caller(&self, loop_is_running: bool) -> u32 {
        self.count_caller(loop_is_running)
    }

    /// Where a coroutine waits.
    fn waits_at(&self, coroutine: &Bound<'_, PyAny>) -> u32 {
        self.count_waits_at(coroutine)
    }

    /// "file:line function", or "" for 0.
    fn words(&self, number: usize) -> String {
        number.checked_sub(1).and_then(|i| self.words.borrow().get(i).cloned()).unwrap_or_default()
    }
}

/// What is counted (callgrind's `--toggle-collect='*count_caller*'`) has a function of its own.
impl PlacesForTests {
    #[inline(never)]
    fn count_caller(&self, loop_is_running: bool) -> u32 {
        self.places.caller(loop_is_running, |words| self.number(words.to_string()))
    }

    #[inline(never)]
    fn count_waits_at(&self, coroutine: &Bound<'_, PyAny>) -> u32 {
        // SAFETY: alive; this thread is here and not in the coroutine.
        unsafe { self.places.waits_at(coroutine.as_ptr(), |words| self.number(words.to_string())) }
    }

    fn number(&self, text: String) -> u32 {
        let mut words = self.words.borrow_mut();
        words.push(text);
        words.len() as u32
    }
}
