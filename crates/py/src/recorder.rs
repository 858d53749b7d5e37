//! The event record for Python: sites with names, failures with their text, and what `--report` asks for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use net::clock::Monotonic;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use sched::{Event, Instrument, Kind, SiteId, TaskId};
use trace::Ring;

use crate::event_loop::LoopCore;
use crate::raw::task::{self, TaskState};
use crate::raw::{Obj, R};

/// What is known of a task besides its events.
struct Seen {
    name: Obj,
    coroutine: String,
    exception: Option<Obj>,
}

/// Where a task was started.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Site {
    file: String,
    line: i32,
    function: String,
}

pub struct Recorder {
    ring: Ring<Monotonic>,
    sites: RefCell<(HashMap<Site, SiteId>, Vec<Site>)>,
    tasks: RefCell<HashMap<TaskId, Seen>>,
}

impl Instrument for Recorder {
    fn record(&self, event: Event) {
        self.ring.record(event);
    }
}

/// The Python frame that asked for the task, as a site; and the task's name for the record. Only when recording.
#[cold]
pub fn spawn_site(core: &LoopCore, o: *mut PyObject) -> SiteId {
    let Some(recorder) = core.recorder.borrow().clone() else {
        return 0;
    };
    let known = (|| -> R<SiteId> {
        // SAFETY: a task of ours.
        let s = unsafe { task::state(o) };
        let coroutine = coroutine_name(s.coro.get());
        let seen = Seen { name: task::name(o)?, coroutine, exception: None };
        recorder.tasks.borrow_mut().insert(s.id.get(), seen);
        Ok(caller().map_or(0, |site| recorder.intern(site)))
    })();
    known.unwrap_or_else(|_| {
        crate::raw::obj::write_unraisable(o);
        0
    })
}

fn coroutine_name(coro: *mut PyObject) -> String {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: alive.
    let coro = unsafe { Bound::from_borrowed_ptr(py, coro) };
    let name = coro.getattr("__qualname__").and_then(|n| n.extract::<String>());
    name.unwrap_or_else(|_| coro.get_type().to_string())
}

/// The innermost frame outside asyncio and Segue themselves.
fn caller() -> Option<Site> {
    // SAFETY: attached; the frame is borrowed from the running thread.
    unsafe {
        let py = Python::assume_attached();
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return None;
        }
        let mut frame = Bound::from_borrowed_ptr(py, frame.cast());
        loop {
            let code = frame.getattr("f_code").ok()?;
            let file: String = code.getattr("co_filename").ok()?.extract().ok()?;
            let back = frame.getattr("f_back").ok()?;
            if !is_machinery(&file) || back.is_none() {
                let line = frame.getattr("f_lineno").ok()?.extract().unwrap_or(0);
                let function = code.getattr("co_qualname").ok()?.extract().ok()?;
                return Some(Site { file, line, function });
            }
            frame = back;
        }
    }
}

fn is_machinery(file: &str) -> bool {
    ["/asyncio/", "/segue/_", "/anyio/"].iter().any(|part| file.contains(part))
}

/// A task ended with an exception.
#[inline(always)]
pub fn failed(s: &TaskState, exc: &Obj) {
    if let Some(core) = s.future.core() {
        if core.hooks.is_attached() {
            failed_cold(core, s.id.get(), exc);
        }
    }
}

#[cold]
fn failed_cold(core: &LoopCore, id: TaskId, exc: &Obj) {
    if let Some(recorder) = core.recorder.borrow().clone() {
        if let Some(seen) = recorder.tasks.borrow_mut().get_mut(&id) {
            seen.exception = Some(exc.clone());
        }
    }
}

impl Recorder {
    fn intern(&self, site: Site) -> SiteId {
        let mut sites = self.sites.borrow_mut();
        if let Some(&id) = sites.0.get(&site) {
            return id;
        }
        let id = sites.1.len() as SiteId + 1;
        sites.0.insert(site.clone(), id);
        sites.1.push(site);
        id
    }
}

#[pymethods]
impl LoopCore {
    /// Starts the event record, keeping the last `capacity` events. Replaces a record that is running.
    #[pyo3(signature = (capacity = 1_000_000))]
    fn _start_recording(&self, capacity: usize) {
        let recorder = Rc::new(Recorder {
            ring: Ring::new(Monotonic, capacity),
            sites: RefCell::default(),
            tasks: RefCell::default(),
        });
        let old = self.recorder.replace(Some(recorder.clone()));
        self.hooks.attach(recorder);
        drop(old);
    }

    /// Stops the event record. What was recorded is gone unless it was read before.
    fn _stop_recording(&self) {
        drop(self.hooks.detach());
        let old = self.recorder.replace(None);
        drop(old);
    }

    /// How many events were recorded in all, and how many of them the ring has lost.
    fn _recorded_events(&self) -> (u64, u64) {
        self.recorder.borrow().as_ref().map_or((0, 0), |r| (r.ring.total(), r.ring.dropped()))
    }

    /// One dict per recorded task, in the order of their creation: `id`, `parent` (0: none), `name`, `coroutine`,
    /// `site` (`"file:line function"` or None), `outcome` (`"pending"`, `"result"`, `"exception"`, `"cancelled"`),
    /// `exception` (or None), `cancelled_by` (a task's id, 0, or None).
    fn _recorded_tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let out = PyList::empty(py);
        let Some(recorder) = self.recorder.borrow().clone() else {
            return Ok(out);
        };
        let mut found: Vec<(TaskId, Bound<'py, PyDict>)> = Vec::new();
        let mut index = HashMap::new();
        for stamped in recorder.ring.snapshot() {
            let e = stamped.event;
            match e.kind {
                Kind::Spawn => {
                    let d = recorder.describe(py, &e)?;
                    index.insert(e.task, found.len());
                    found.push((e.task, d));
                }
                Kind::Finish | Kind::Cancel => {
                    let Some(&i) = index.get(&e.task) else {
                        continue;
                    };
                    let d = &found[i].1;
                    if e.kind == Kind::Cancel {
                        d.set_item("cancelled_by", e.other)?;
                    } else {
                        d.set_item("outcome", ["result", "exception", "cancelled"][e.detail.min(2) as usize])?;
                    }
                }
                Kind::Step | Kind::Wait | Kind::Wake => {}
            }
        }
        for (_, d) in found {
            out.append(d)?;
        }
        Ok(out)
    }
}

impl Recorder {
    fn describe<'py>(&self, py: Python<'py>, e: &Event) -> PyResult<Bound<'py, PyDict>> {
        let d = PyDict::new(py);
        d.set_item("id", e.task)?;
        d.set_item("parent", e.other)?;
        let tasks = self.tasks.borrow();
        let seen = tasks.get(&e.task);
        d.set_item("name", seen.map(|s| s.name.bound(py)))?;
        d.set_item("coroutine", seen.map(|s| s.coroutine.as_str()))?;
        d.set_item("exception", seen.and_then(|s| s.exception.as_ref()).map(|x| x.bound(py)))?;
        let sites = self.sites.borrow();
        let site = (e.site as usize).checked_sub(1).and_then(|i| sites.1.get(i));
        d.set_item("site", site.map(|s| format!("{}:{} {}", s.file, s.line, s.function)))?;
        d.set_item("outcome", "pending")?;
        d.set_item("cancelled_by", py.None())?;
        Ok(d)
    }
}
