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
use crate::raw::globals::globals;
use crate::raw::task::{self, TaskState};
use crate::raw::Obj;

/// What is known of a task besides its events; put into words only when somebody reads.
struct Seen {
    /// The task's own name, or the number that its default name is made of.
    name: Result<Obj, u64>,
    coroutine: Option<Obj>,
    exception: Option<Obj>,
}

/// Where a task was started: a code object, which it keeps alive, and a line in it.
struct Site {
    code: Obj,
    line: i32,
}

#[derive(Default)]
struct Sites {
    /// By the code object's address and the line.
    known: HashMap<(usize, i32), SiteId>,
    all: Vec<Site>,
    /// Whether a code object belongs to asyncio or Segue, by its address. Each is kept alive.
    machinery: HashMap<usize, (bool, Obj)>,
}

pub struct Recorder {
    ring: Ring<Monotonic>,
    sites: RefCell<Sites>,
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
    let Some(recorder) = core.recorder.borrow().clone() else { return 0 };
    // SAFETY: a task of ours.
    let s = unsafe { task::state(o) };
    let name = task::name_or_number(s);
    let qualname = crate::raw::obj::getattr_opt(s.coro.get(), globals().names.qualname);
    let coroutine = match qualname {
        Ok(name) => name,
        Err(_) => {
            crate::raw::obj::write_unraisable(o);
            None
        }
    };
    let old = recorder.tasks.borrow_mut().insert(s.id.get(), Seen { name, coroutine, exception: None });
    drop(old);
    recorder.caller()
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
    /// The site of the innermost frame outside asyncio and Segue; 0 if there is none.
    fn caller(&self) -> SiteId {
        // SAFETY: attached; frames and code objects are owned or kept by the record.
        unsafe {
            let Some(mut frame) = Obj::from_nullable(ffi::PyThreadState_GetFrame(ffi::PyThreadState_Get()).cast())
            else {
                return 0;
            };
            loop {
                let Some(code) = Obj::from_nullable(ffi::PyFrame_GetCode(frame.as_ptr().cast()).cast()) else {
                    return 0;
                };
                let back = Obj::from_nullable(ffi::PyFrame_GetBack(frame.as_ptr().cast()).cast());
                match back {
                    Some(back) if self.is_machinery(&code) => frame = back,
                    _ => {
                        let line = ffi::PyFrame_GetLineNumber(frame.as_ptr().cast());
                        return self.intern(code, line);
                    }
                }
            }
        }
    }

    fn is_machinery(&self, code: &Obj) -> bool {
        let key = code.as_ptr() as usize;
        if let Some((answer, _)) = self.sites.borrow().machinery.get(&key) {
            return *answer;
        }
        let file = code_attribute(code, "co_filename");
        let answer = ["/asyncio/", "/segue/_", "/anyio/"].iter().any(|part| file.contains(part));
        self.sites.borrow_mut().machinery.insert(key, (answer, code.clone()));
        answer
    }

    fn intern(&self, code: Obj, line: i32) -> SiteId {
        let mut sites = self.sites.borrow_mut();
        let key = (code.as_ptr() as usize, line);
        if let Some(&id) = sites.known.get(&key) {
            return id;
        }
        let id = sites.all.len() as SiteId + 1;
        sites.known.insert(key, id);
        sites.all.push(Site { code, line });
        id
    }
}

fn code_attribute(code: &Obj, name: &str) -> String {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    code.bound(py).getattr(name).and_then(|v| v.extract()).unwrap_or_default()
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
        match seen.map(|s| &s.name) {
            Some(Ok(name)) => d.set_item("name", name.bound(py))?,
            Some(Err(number)) => d.set_item("name", format!("Task-{number}"))?,
            None => d.set_item("name", py.None())?,
        }
        d.set_item("coroutine", seen.and_then(|s| s.coroutine.as_ref()).map(|c| c.bound(py)))?;
        d.set_item("exception", seen.and_then(|s| s.exception.as_ref()).map(|x| x.bound(py)))?;
        let sites = self.sites.borrow();
        let site = (e.site as usize).checked_sub(1).and_then(|i| sites.all.get(i));
        let words = site.map(|s| {
            let (file, function) = (code_attribute(&s.code, "co_filename"), code_attribute(&s.code, "co_qualname"));
            format!("{file}:{} {function}", s.line)
        });
        d.set_item("site", words)?;
        d.set_item("outcome", "pending")?;
        d.set_item("cancelled_by", py.None())?;
        Ok(d)
    }
}
