//! What the running interpreter's frames look like, found out by trying: with frames and coroutines of which everything is known.
//!
//! Python's API says what should be found (a frame's code, its instruction, the frame that called it, what a coroutine awaits); every
//! place where that is, in all samples alike, is a candidate. Only if one candidate is left of everything, and walking through the
//! samples gives the API's answers, is there a [`Layout`]. Called once, when something is recorded for the first time.

use std::os::raw::c_int;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::frame_objects;
use super::frames::{bytecode, code_in, word, word_byte, Current, Getter, Instruction, Layout, Wrappers};
use super::Obj;

const WORD: usize = std::mem::size_of::<usize>();
/// What every frame has before its variables, in all versions at least.
const FRAME: usize = 9 * WORD;
/// In some more; the samples' frames all have a variable or room for a result.
const FRAME_AND_ONE: usize = FRAME + WORD;
/// How far into a thread state we look: all interpreters that there are have it before, in a structure that is longer.
const STATE: usize = 320;

/// How frames are walked in this process.
#[derive(Clone)]
pub struct Ways {
    /// None on an interpreter whose frames look different from all that we know.
    pub layout: Option<Layout>,
    pub wrappers: Wrappers,
    /// How coroutines say what they are called.
    pub coroutines_name: Option<Getter>,
}

/// Under the GIL nobody waits for it; two threads that search at once find the same.
static WAYS: OnceLock<Ways> = OnceLock::new();

/// Tries it out, the first time: that runs a few functions of Python.
pub fn find(py: Python<'_>) -> PyResult<&'static Ways> {
    if let Some(ways) = found() {
        return Ok(ways);
    }
    let ways = search(py)?;
    Ok(WAYS.get_or_init(|| ways))
}

/// What was found, if somebody has searched.
#[inline(always)]
pub fn found() -> Option<&'static Ways> {
    WAYS.get()
}

// SAFETY: the pointers in it are to types and functions of the interpreter, which stay.
unsafe impl Send for Ways {}
// SAFETY: as above.
unsafe impl Sync for Ways {}

fn search(py: Python<'_>) -> PyResult<Ways> {
    let samples = py.import("segue._sample_frames")?;
    let found = Arc::new(Mutex::new(Found::default()));
    let traced = samples.getattr("first_traced")?.call0()?.extract()?;
    found.lock().expect(ALONE).code_objects(traced);
    let looks = found.clone();
    show(&samples, "coroutines", move |args| {
        let (suspended, fresh, over, wrappers): (_, Vec<_>, Vec<_>, _) = args.extract()?;
        looks.lock().expect(ALONE).coroutines(suspended, &fresh, &over, wrappers);
        Ok(())
    })?;
    let looks = found.clone();
    show(&samples, "run", move |args| {
        looks.lock().expect(ALONE).running(args.extract::<(usize,)>()?.0);
        Ok(())
    })?;
    let (layout, wrappers) = {
        let found = found.lock().expect(ALONE);
        (found.layout(), Wrappers(found.wrappers.clone()))
    };
    // SAFETY: a type of the interpreter's.
    let coroutines_name = unsafe { getter(&raw mut ffi::PyCoro_Type, c"__qualname__") };
    let Some(layout) = layout else { return Ok(Ways { layout: None, wrappers, coroutines_name }) };

    let ways = Ways { layout: Some(layout), wrappers, coroutines_name };
    let same = Arc::new(AtomicBool::new(true));
    let (compared, walked) = (same.clone(), ways.clone());
    show(&samples, "run", move |_| {
        compared.fetch_and(walked.agree_on_running(), Relaxed);
        Ok(())
    })?;
    let (compared, walked) = (same.clone(), ways.clone());
    show(&samples, "coroutines", move |args| {
        for group in args.iter() {
            for sample in group.try_iter()? {
                let sample = sample?;
                let o = if sample.is_instance_of::<PyTuple>() { sample.get_item(0)? } else { sample };
                compared.fetch_and(walked.agree_on_suspended(&o), Relaxed);
            }
        }
        Ok(())
    })?;
    let layout = ways.layout.clone().filter(|_| same.load(Relaxed));
    Ok(Ways { layout, ..ways })
}

/// Has the samples shown to `look`.
fn show(
    samples: &Bound<'_, PyModule>,
    which: &str,
    look: impl Fn(&Bound<'_, PyTuple>) -> PyResult<()> + Send + Sync + 'static,
) -> PyResult<()> {
    let look = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| look(args);
    samples.getattr(which)?.call1((PyCFunction::new_closure(samples.py(), None, None, look)?,)).map(drop)
}

/// Why a lock isn't poisoned.
const ALONE: &str = "no look panics";

impl Ways {
    fn agree_on_running(&self) -> bool {
        let Some(layout) = &self.layout else { return false };
        layout.running().map(comparable).eq(frame_objects::running().map(|(at, _code)| comparable(at)))
    }

    fn agree_on_suspended(&self, coroutine: &Bound<'_, PyAny>) -> bool {
        let Some(layout) = &self.layout else { return false };
        // SAFETY: a sample, alive and not running.
        let walked = unsafe { layout.suspended(coroutine.as_ptr()) }.map(comparable);
        let asked = frame_objects::suspended(Obj::from(coroutine.clone()), &self.wrappers);
        walked.eq(asked.map(|(at, _code)| comparable(at)))
    }
}

/// What is before the first instruction is told in two ways.
fn comparable(at: Instruction) -> (*mut PyObject, c_int) {
    (at.code, at.offset().max(-1))
}

type Sample<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The candidates that are left.
struct Found {
    /// Where a frame object has its frame.
    frame_in_object: Vec<usize>,
    current: Vec<Current>,
    code: Vec<usize>,
    previous: Vec<usize>,
    instruction: Vec<usize>,
    owner: Vec<usize>,
    first_traced: Vec<usize>,
    /// Where a coroutine has its frame, with `frame_in_object`.
    frame: Option<Vec<(usize, usize)>>,
    state: Vec<(usize, u8, [u8; 2])>,
    awaited: Option<[Getter; 3]>,
    wrappers: Vec<*mut PyTypeObject>,
}

// SAFETY: as `Ways`.
unsafe impl Send for Found {}

impl Default for Found {
    fn default() -> Self {
        let words = || (0..FRAME).step_by(WORD).collect();
        Found {
            frame_in_object: Vec::new(),
            current: places_of_current(),
            code: words(),
            previous: words(),
            instruction: words(),
            owner: (0..FRAME_AND_ONE).collect(),
            first_traced: Vec::new(),
            frame: None,
            state: Vec::new(),
            awaited: None,
            wrappers: Vec::new(),
        }
    }
}

fn only<T: Copy>(candidates: &[T]) -> Option<T> {
    match candidates {
        [one] => Some(*one),
        _ => None,
    }
}

/// What all have in common.
fn alike(states: &[u8]) -> Option<u8> {
    let first = *states.first()?;
    states.iter().all(|state| *state == first).then_some(first)
}

impl Found {
    fn layout(&self) -> Option<Layout> {
        if cfg!(Py_GIL_DISABLED) {
            return None; // there threads have bytecode of their own
        }
        let (state, suspended, over) = only(&self.state)?;
        Some(Layout {
            current: only(&self.current)?,
            code: only(&self.code)?,
            previous: only(&self.previous)?,
            instruction: only(&self.instruction)?,
            owner: only(&self.owner)?,
            bytecode: bytecode(std::ptr::null_mut()),
            first_traced: only(&self.first_traced)?,
            frame: only(self.frame.as_deref()?)?.0,
            state,
            suspended,
            over,
            awaited: self.awaited?,
            wrappers: Wrappers(self.wrappers.clone()),
        })
    }

    fn code_objects(&mut self, samples: Vec<(Bound<'_, PyAny>, c_int)>) {
        let size = std::mem::size_of::<c_int>();
        let head = std::mem::size_of::<ffi::PyVarObject>();
        // SAFETY: reads what every code object has, up to its bytecode.
        unsafe {
            let end = ffi::PyCode_Type.tp_basicsize as usize - size;
            let is_it = |at: &usize| {
                samples.iter().all(|(code, first)| *code.as_ptr().cast::<u8>().add(*at).cast::<c_int>() == *first)
            };
            self.first_traced = (head..=end).step_by(size).filter(is_it).collect();
        }
    }

    fn coroutines(
        &mut self,
        suspended: Vec<Sample<'_>>,
        fresh: &[Bound<'_, PyAny>],
        over: &[Bound<'_, PyAny>],
        wrappers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) {
        for sample in &suspended {
            self.frame_of(sample);
        }
        // SAFETY: types of the interpreter's.
        self.awaited = unsafe {
            let coroutine = getter(&raw mut ffi::PyCoro_Type, c"cr_await");
            let generator = getter(&raw mut ffi::PyGen_Type, c"gi_yieldfrom");
            let async_generator = getter(&raw mut ffi::PyAsyncGen_Type, c"ag_await");
            match (coroutine, generator, async_generator) {
                (Some(coroutine), Some(generator), Some(async_generator)) => {
                    Some([coroutine, generator, async_generator])
                }
                _ => None,
            }
        };
        for (wrapper, inside) in &wrappers {
            // SAFETY: alive.
            let class = unsafe { ffi::Py_TYPE(wrapper.as_ptr()) };
            let shown = Wrappers(vec![class]).inside(wrapper.as_ptr());
            // Of some it isn't known what they hold, only that it is something.
            if shown.is_some_and(|shown| inside.is_none() || shown == inside.as_ptr()) {
                self.wrappers.push(class);
            }
        }
        let Some((frame, _)) = self.frame.as_deref().and_then(only) else { return };
        let waiting: Vec<Bound<'_, PyAny>> = suspended.into_iter().map(|(o, ..)| o).collect();
        let states = |at: usize, of: &[Bound<'_, PyAny>]| -> Vec<u8> {
            // SAFETY: coroutines, which are longer: the frame is in them.
            of.iter().map(|o| unsafe { word_byte(o.as_ptr(), at) }).collect()
        };
        self.state = (frame.saturating_sub(WORD)..frame)
            .filter_map(|at| {
                let suspended = alike(&states(at, &waiting))?;
                let new = alike(&states(at, fresh))?;
                let over = [alike(&states(at, over.get(..2)?))?, alike(&states(at, over.get(2..)?))?];
                let apart = suspended != new && !over.contains(&suspended) && !over.contains(&new);
                apart.then_some((at, suspended, over))
            })
            .collect();
    }

    /// A suspended sample: where its frame object has its frame, which lies in the coroutine, and the frame its code.
    fn frame_of(&mut self, (o, frame_object, code, _): &Sample<'_>) {
        // SAFETY: everything is read within objects that are alive: the frame, by what their types say of their size.
        unsafe {
            let (start, size) = (o.as_ptr() as usize, (*ffi::Py_TYPE(o.as_ptr())).tp_basicsize as usize);
            let is_in = |at: usize| (start + WORD..=(start + size).saturating_sub(FRAME)).contains(&at);
            let object = frame_object.as_ptr().cast::<u8>();
            let head = std::mem::size_of::<PyObject>();
            let end = (*ffi::Py_TYPE(frame_object.as_ptr())).tp_basicsize as usize - WORD;
            let pointers = (head..=end).step_by(WORD).filter(|at| is_in(word(object, *at)));
            let here: Vec<(usize, usize)> = pointers.map(|at| (word(object, at) - start, at)).collect();
            self.frame.get_or_insert_with(|| here.clone()).retain(|candidate| here.contains(candidate));
            self.frame_in_object = self.frame.iter().flatten().map(|(_, at)| *at).collect();
            let Some((frame, _)) = self.frame.as_deref().and_then(only) else { return };
            let offset = ffi::PyFrame_GetLasti(frame_object.as_ptr().cast());
            self.frame_has((start + frame) as *const u8, code.as_ptr(), offset, 1);
        }
    }

    /// # Safety
    /// A frame that is alive, its code, how far it has come, and whether it is a coroutine's.
    unsafe fn frame_has(&mut self, frame: *const u8, code: *mut PyObject, offset: c_int, owner: u8) {
        // SAFETY: the caller's promise. A word is only compared, but for what is the code by then.
        unsafe {
            self.code.retain(|at| word(frame, *at) & !3 == code as usize && code_in(word(frame, *at)) == Some(code));
            let instruction = bytecode(code).wrapping_add_signed(offset as isize);
            self.instruction.retain(|at| word(frame, *at) == instruction);
            self.owner.retain(|at| *frame.add(*at) == owner);
        }
    }

    /// The running frames, of which the innermost `linked` have called each other from Python.
    fn running(&mut self, linked: usize) {
        let Some(in_object) = only(&self.frame_in_object) else { return };
        let objects: Vec<Obj> = frame_objects::objects().take(linked).collect();
        // SAFETY: frame objects that are alive, of frames that run.
        unsafe {
            let frames: Vec<*const u8> =
                objects.iter().map(|o| word(o.as_ptr().cast(), in_object) as *const u8).collect();
            for (frame, object) in frames.iter().zip(&objects) {
                let object: *mut ffi::PyFrameObject = object.as_ptr().cast();
                let code = Obj::from_nullable(ffi::PyFrame_GetCode(object).cast());
                let Some(code) = code else { continue };
                self.frame_has(*frame, code.as_ptr(), ffi::PyFrame_GetLasti(object), 0);
            }
            for pair in frames.windows(2) {
                self.previous.retain(|at| word(pair[0], *at) == pair[1] as usize);
            }
            let Some(&innermost) = frames.first() else { return };
            let state = ffi::PyThreadState_Get().cast::<u8>();
            self.current.retain(|current| {
                let readable = current.in_cframe.is_none() || is_on_the_stack(word(state, current.in_state));
                readable && current.read(state) == innermost
            });
        }
    }
}

/// Where the current frame may be.
fn places_of_current() -> Vec<Current> {
    let words = (0..STATE).step_by(WORD);
    if cfg!(Py_3_13) {
        words.map(|in_state| Current { in_state, in_cframe: None }).collect()
    } else {
        words.flat_map(|in_state| [0, WORD].map(|at| Current { in_state, in_cframe: Some(at) })).collect()
    }
}

/// Whether a structure of two words can be there.
fn is_on_the_stack(at: usize) -> bool {
    at % WORD == 0 && stack().is_some_and(|stack| stack.contains(&at) && stack.contains(&(at + 2 * WORD)))
}

/// This thread's stack, from here to its end.
fn stack() -> Option<std::ops::Range<usize>> {
    let here = 0u8;
    // SAFETY: the attributes are written before they are read, and freed.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        let known = libc::pthread_attr_getstack(&attributes, &mut start, &mut size) == 0;
        libc::pthread_attr_destroy(&mut attributes);
        known.then_some((&raw const here) as usize..start as usize + size)
    }
}

/// The function behind an attribute of a type of the interpreter's.
///
/// # Safety
/// A type that is alive.
unsafe fn getter(class: *mut PyTypeObject, name: &std::ffi::CStr) -> Option<Getter> {
    // SAFETY: the caller's promise; the list ends with an entry without a name.
    unsafe {
        let mut entry = (*class).tp_getset;
        while !entry.is_null() && !(*entry).name.is_null() {
            if std::ffi::CStr::from_ptr((*entry).name) == name {
                return (*entry).get.map(|function| Getter { function, closure: (*entry).closure });
            }
            entry = entry.add(1);
        }
        None
    }
}
