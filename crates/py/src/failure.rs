//! Why a task failed or was cancelled, in one line of words that keep nothing alive; and who is told of every failure.

use pyo3::exceptions::{PyBaseExceptionGroup, PyException};
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use sched::CancelSource;

use crate::cancellation;
use crate::raw::obj::{call, is_interrupt, raise_object, take_raised, write_unraisable};
use crate::raw::{task, Obj, Slot};

/// How many exceptions of a group, and how many behind an exception, are named.
const NAMED: usize = 3;
/// How much of an exception's text is kept, in characters.
const LENGTH: usize = 300;

/// "Type: message", with the exceptions in it (a group's) and behind it (its causes, or what was being handled).
pub fn describe(exc: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut text = type_and_message(exc)?;
    if exc.is_instance_of::<PyBaseExceptionGroup>() {
        let (inside, count) = leaves(exc)?;
        text += ": ";
        text += &inside.iter().map(type_and_message).collect::<PyResult<Vec<_>>>()?.join("; ");
        if count > inside.len() {
            text += &format!("; and {} more", count - inside.len());
        }
    }
    let mut behind = Vec::new();
    let mut at = exc.clone();
    while behind.len() < NAMED {
        let (cause, context) = (at.getattr("__cause__")?, at.getattr("__context__")?);
        let (next, how) = if !cause.is_none() {
            (cause, "caused by")
        } else if !context.is_none() && !at.getattr("__suppress_context__")?.is_truthy()? {
            (context, "while handling")
        } else {
            break;
        };
        behind.push(format!("{how} {}", type_and_message(&next)?));
        at = next;
    }
    if !behind.is_empty() {
        text += &format!(" ({})", behind.join(", "));
    }
    Ok(text)
}

/// Who asked for the cancellation, where it is known: "Task.cancel (message), task 'name', file:line function".
pub fn cancelled_by(exc: &Bound<'_, PyAny>) -> PyResult<String> {
    let Some(info) = cancellation::cancellation(exc)? else { return Ok(String::new()) };
    Ok(match info.get().source {
        // Both places are in asyncio's runner.
        CancelSource::LoopShutdown => "loop shutdown: the main task had ended".to_owned(),
        CancelSource::Signal => "signal: Ctrl-C".to_owned(),
        _ => info.str()?.to_string().trim_start_matches("cancelled by ").to_owned(),
    })
}

fn type_and_message(exc: &Bound<'_, PyAny>) -> PyResult<String> {
    let name = type_name(&exc.get_type())?;
    let message = match exc.str() {
        Ok(text) => one_line(&text.to_string()),
        Err(e) if e.is_instance_of::<PyException>(exc.py()) => {
            format!("<its str() failed: {}>", type_name(&e.get_type(exc.py()))?)
        }
        // KeyboardInterrupt and SystemExit are for the loop.
        Err(e) => return Err(e),
    };
    Ok(if message.is_empty() { name } else { format!("{name}: {message}") })
}

fn type_name(class: &Bound<'_, PyType>) -> PyResult<String> {
    let (module, name) = (class.getattr("__module__")?.to_string(), class.qualname()?.to_string());
    Ok(if module == "builtins" || module == "__main__" { name } else { format!("{module}.{name}") })
}

fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

/// The first exceptions of a group that are no groups themselves, and how many there are in all. Groups may be nested deeply.
fn leaves<'py>(group: &Bound<'py, PyAny>) -> PyResult<(Vec<Bound<'py, PyAny>>, usize)> {
    let (mut found, mut count) = (Vec::new(), 0);
    let mut left = vec![group.clone()];
    while let Some(exc) = left.pop() {
        if exc.is_instance_of::<PyBaseExceptionGroup>() {
            let inside = exc.getattr(intern!(exc.py(), "exceptions"))?.cast_into::<PyTuple>()?;
            left.extend(inside.iter().rev());
        } else {
            count += 1;
            if found.len() < NAMED {
                found.push(exc);
            }
        }
    }
    Ok((found, count))
}

/// Called with every task of ours that fails or was cancelled and its exception: `segue._explain`, while errors are explained;
/// else empty.
struct Witness(Slot);
// SAFETY: touched with the GIL held only.
unsafe impl Sync for Witness {}
static WITNESS: Witness = Witness(Slot::new());

/// Sets what is called with each task that ends with an exception, and that, before those that await it are woken. None: nothing.
#[pyfunction(name = "_when_a_task_fails")]
pub fn when_a_task_fails(witness: Bound<'_, PyAny>) {
    drop(WITNESS.0.replace(Some(Obj::from(witness)).filter(|w| !w.is_none())));
}

/// The CancelledError that ended a task and that nobody has got yet, which is left there for who awaits the task.
#[pyfunction(name = "_cancelled_with")]
pub fn cancelled_with<'py>(task: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    if !task::is_ours(task.as_ptr()) {
        return None;
    }
    // SAFETY: ours.
    let s = unsafe { task::state(task.as_ptr()) };
    Some(s.future.cancelled_exc.obj()?.bound(task.py()))
}

/// The task `o` is about to end with `exc`. Returns an interrupt that came meanwhile, which is for the loop.
#[inline(always)]
pub fn witness(o: *mut PyObject, exc: &Obj) -> Option<Obj> {
    if WITNESS.0.is_set() {
        return tell(o, exc);
    }
    None
}

#[cold]
fn tell(o: *mut PyObject, exc: &Obj) -> Option<Obj> {
    let witness = WITNESS.0.obj()?;
    if call(witness.as_ptr(), &[o, exc.as_ptr()]).is_ok() {
        return None;
    }
    let raised = take_raised()?;
    if is_interrupt(raised.as_ptr()) {
        return Some(raised);
    }
    let _set = raise_object(raised);
    write_unraisable(o);
    None
}
