//! What finds a task as long as it is alive, without keeping it alive: a weak reference for Segue's own tasks, for a tenth of the
//! price of Python's.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::ffi::PyObject;

use super::Obj;

/// The task; null once it is gone.
type Place = Rc<Cell<*mut PyObject>>;

#[derive(Clone)]
pub struct TaskHandle(Place);

impl TaskHandle {
    pub fn task(&self) -> Option<Obj> {
        let task = self.0.get();
        // SAFETY: not null means alive: see `Handed::gone`.
        (!task.is_null()).then(|| unsafe { Obj::borrowed(task) })
    }
}

/// The task's side. All-zero memory is one that nobody asked for a handle.
#[derive(Default)]
pub struct Handed(Cell<Option<Place>>);

impl Handed {
    /// `task` is the object that this is part of.
    #[inline(always)]
    pub fn handle(&self, task: &Obj) -> TaskHandle {
        let place = self.0.take().unwrap_or_else(|| Rc::new(Cell::new(task.as_ptr())));
        self.0.set(Some(place.clone()));
        TaskHandle(place)
    }

    /// Its memory is about to go, or the collector takes it apart: no handle finds it from now on.
    #[inline(always)]
    pub fn gone(&self) {
        if let Some(place) = self.0.take() {
            place.set(std::ptr::null_mut());
        }
    }
}
