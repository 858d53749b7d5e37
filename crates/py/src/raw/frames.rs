//! Where the running code is, and where a suspended coroutine waits: read from the interpreter's own frames, without the frame
//! objects that Python's API makes of them.
//!
//! What a frame looks like is not part of that API. `frame_layout.rs` finds it out by trying; where it is anything else than
//! expected there is no [`Layout`], and `frame_objects.rs` gives the same answers in the API's way. Nothing here makes an object,
//! allocates, or runs Python, and nothing is ever written to a frame. `places.rs` asks.

use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use super::globals::globals;

/// A code object and the address of an instruction of its bytecode. Both are alive as long as the frame that they were read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    pub code: *mut PyObject,
    pub at: usize,
}

/// Where a thread state has its current frame. All offsets are in bytes from the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Current {
    pub in_state: usize,
    /// Up to 3.12 the thread state points to a structure on the C stack, which has it there.
    pub in_cframe: Option<usize>,
}

/// What is known of the running interpreter's frames.
#[derive(Clone, Debug)]
pub struct Layout {
    pub current: Current,
    // In a frame:
    pub code: usize,
    pub previous: usize,
    pub instruction: usize,
    /// A byte that is 1 if the frame is a coroutine's or generator's, and 0 if it is a function's.
    pub owner: usize,
    // In a code object:
    pub bytecode: usize,
    /// The number (a C int) of the first instruction that is traced. A function's frame that is before it is incomplete.
    pub first_traced: usize,
    // In coroutines, generators and asynchronous generators:
    pub frame: usize,
    pub state: usize,
    /// What the byte there is while one is suspended in an `await` or `yield from`; where that doesn't tell, in any `yield`.
    pub suspended: u8,
    /// ... and when there is no frame any more: after the end, and after a close before the beginning.
    pub over: [u8; 2],
    /// How these three say what they await: the function behind their attribute.
    pub awaited: [Getter; 3],
    pub wrappers: Wrappers,
}

/// The function behind an attribute, and what it wants to be given.
#[derive(Clone, Copy, Debug)]
pub struct Getter {
    pub function: unsafe extern "C" fn(*mut PyObject, *mut c_void) -> *mut PyObject,
    pub closure: *mut c_void,
}

/// Pointers to objects may be marked in their lowest bits (from 3.14 on).
const MARKS: usize = 3;
/// Of the bytecode.
const INSTRUCTION_SIZE: usize = 2;

/// A word of a structure.
///
/// # Safety
/// The structure is alive and reaches at least a word beyond `offset`.
#[inline(always)]
pub(super) unsafe fn word(start: *const u8, offset: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { *start.add(offset).cast::<usize>() }
}

/// The code object that a word of a frame refers to; None where that is something else, as in the frames that the interpreter
/// puts between those of Python and C.
///
/// # Safety
/// The word is null or refers to an object, but for its marks.
#[inline(always)]
pub(super) unsafe fn code_in(word: usize) -> Option<*mut PyObject> {
    let code = (word & !MARKS) as *mut PyObject;
    // SAFETY: the caller's promise.
    unsafe { (!code.is_null() && ffi::Py_TYPE(code) == &raw mut ffi::PyCode_Type).then_some(code) }
}

/// Where a code object's bytecode begins: at the end of what every code object has.
#[inline(always)]
pub fn bytecode(code: *mut PyObject) -> usize {
    // SAFETY: the type is the interpreter's, and doesn't change.
    code as usize + unsafe { ffi::PyCode_Type.tp_basicsize } as usize
}

impl Instruction {
    /// As `f_lasti` has it: in bytes from the beginning of the bytecode.
    pub fn offset(self) -> c_int {
        self.at.wrapping_sub(bytecode(self.code)) as c_int
    }

    /// Its line; 0 if it has none.
    pub fn line(self) -> u32 {
        // SAFETY: the code object is alive. What lies outside of its bytecode is not asked about.
        unsafe {
            let length = (*self.code.cast::<ffi::PyVarObject>()).ob_size * INSTRUCTION_SIZE as isize;
            let offset = self.offset();
            if offset as isize >= length {
                return 0;
            }
            u32::try_from(ffi::PyCode_Addr2Line(self.code.cast(), offset.max(-1))).unwrap_or(0)
        }
    }
}

impl Layout {
    /// The running frames of the thread, the innermost first.
    #[inline(always)]
    pub fn running(&self) -> Running<'_> {
        // SAFETY: attached; the layout was tried.
        let frame = unsafe {
            let state = ffi::PyThreadState_Get().cast::<u8>();
            self.current.read(state)
        };
        Running { layout: self, frame }
    }

    /// The frames of a coroutine and of what it awaits, the outermost first.
    ///
    /// # Safety
    /// It is alive; and while the frames are asked for, it doesn't run and nobody lets go of it.
    #[inline(always)]
    pub unsafe fn suspended(&self, coroutine: *mut PyObject) -> Suspended<'_> {
        Suspended { layout: self, at: coroutine }
    }

    /// Which of the three it is, as a number of `awaited`.
    #[inline(always)]
    fn kind_of(&self, o: *mut PyObject) -> Option<usize> {
        // SAFETY: alive.
        let class = unsafe { ffi::Py_TYPE(o) };
        if class == &raw mut ffi::PyCoro_Type {
            return Some(0);
        }
        if class == &raw mut ffi::PyGen_Type {
            return Some(1);
        }
        (class == &raw mut ffi::PyAsyncGen_Type).then_some(2)
    }

    /// Where a frame is that is not incomplete: as Python's API, which leaves those out that are still about to make their cells or
    /// their generator, and the interpreter's own, which never begin.
    ///
    /// # Safety
    /// The frame is alive.
    #[inline(always)]
    unsafe fn instruction(&self, frame: *const u8) -> Option<Instruction> {
        // SAFETY: the caller's promise; the layout was tried.
        unsafe {
            let code = code_in(word(frame, self.code))?;
            let at = word(frame, self.instruction);
            let first = *code.cast::<u8>().add(self.first_traced).cast::<c_int>() as usize;
            let begun = at >= code as usize + self.bytecode + first * INSTRUCTION_SIZE;
            // A generator's frame is complete before: what is thrown into one that has not begun is raised there.
            (begun || *frame.add(self.owner) == 1).then_some(Instruction { code, at })
        }
    }
}

impl Current {
    /// # Safety
    /// The thread state is alive and is laid out like this.
    #[inline(always)]
    pub(super) unsafe fn read(self, state: *const u8) -> *const u8 {
        // SAFETY: the caller's promise.
        unsafe {
            let there = word(state, self.in_state);
            match self.in_cframe {
                Some(offset) => word(there as *const u8, offset) as *const u8,
                None => there as *const u8,
            }
        }
    }
}

pub struct Running<'a> {
    layout: &'a Layout,
    frame: *const u8,
}

impl Iterator for Running<'_> {
    type Item = Instruction;

    #[inline(always)]
    fn next(&mut self) -> Option<Instruction> {
        while !self.frame.is_null() {
            let frame = self.frame;
            // SAFETY: a frame that runs, and those below it: they stay while we are in what they have called.
            unsafe {
                self.frame = word(frame, self.layout.previous) as *const u8;
                if let Some(instruction) = self.layout.instruction(frame) {
                    return Some(instruction);
                }
            }
        }
        None
    }
}

pub struct Suspended<'a> {
    layout: &'a Layout,
    /// Null at the end.
    at: *mut PyObject,
}

impl Suspended<'_> {
    /// After the last: what it awaits that has no frame of the interpreter's (a future, a coroutine in C), or null.
    #[inline(always)]
    pub fn rest(&self) -> *mut PyObject {
        self.at
    }
}

impl Iterator for Suspended<'_> {
    type Item = Instruction;

    #[inline(always)]
    fn next(&mut self) -> Option<Instruction> {
        let layout = self.layout;
        while !self.at.is_null() {
            let o = self.at;
            let Some(kind) = layout.kind_of(o) else {
                // SAFETY: alive. Most chains end with one of ours.
                if unsafe { ffi::Py_TYPE(o) } == globals().iter_type {
                    return None;
                }
                self.at = layout.wrappers.inside(o)?;
                continue;
            };
            // SAFETY: alive, as the first one is and as it keeps alive what it awaits; the layout was tried.
            unsafe {
                let state = word_byte(o, layout.state);
                self.at = if state == layout.suspended { layout.awaited[kind].call(o) } else { std::ptr::null_mut() };
                let [ended, closed] = layout.over;
                if state != ended && state != closed {
                    let frame = o.cast::<u8>().add(layout.frame);
                    let Some(code) = code_in(word(frame, layout.code)) else { continue };
                    return Some(Instruction { code, at: word(frame, layout.instruction) });
                }
            }
        }
        None
    }
}

/// # Safety
/// The object is alive and larger than `offset`.
#[inline(always)]
pub(super) unsafe fn word_byte(o: *mut PyObject, offset: usize) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *o.cast::<u8>().add(offset) }
}

impl Getter {
    /// What it says, or null for None. Whoever was asked has a reference to it, which is the one that keeps it alive.
    ///
    /// # Safety
    /// The object is alive and of the type that the function is for.
    #[inline(always)]
    pub unsafe fn call(self, o: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise; the answer is a new reference, and these functions don't fail.
        unsafe {
            let awaited = (self.function)(o, self.closure);
            if awaited.is_null() {
                return awaited;
            }
            ffi::Py_DECREF(awaited);
            if awaited == ffi::Py_None() {
                std::ptr::null_mut()
            } else {
                awaited
            }
        }
    }
}

/// The types of what the interpreter wraps around coroutines and asynchronous generators: `coroutine.__await__()`, `asend()`,
/// `athrow()`, `anext()`. They show what they hold to nobody but the garbage collector.
#[derive(Clone, Debug)]
pub struct Wrappers(pub Vec<*mut PyTypeObject>);

impl Wrappers {
    /// What is in a wrapper; None if this is none, or has let go of it.
    #[inline]
    pub fn inside(&self, o: *mut PyObject) -> Option<*mut PyObject> {
        // SAFETY: alive.
        let class = unsafe { ffi::Py_TYPE(o) };
        // SAFETY: alive; the types are ones that only show what they hold.
        self.0.contains(&class).then(|| unsafe { first_shown(o) })?
    }
}

/// What an object shows to the garbage collector first, but for its type.
///
/// # Safety
/// It is alive, and its type is written in C.
pub(super) unsafe fn first_shown(o: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: the caller's promise; the visitor only takes a note.
    unsafe {
        let class = ffi::Py_TYPE(o);
        let mut first = First { class: class.cast(), found: std::ptr::null_mut() };
        ((*class).tp_traverse?)(o, First::visit, (&raw mut first).cast());
        (!first.found.is_null()).then_some(first.found)
    }
}

/// The first that is shown to the collector, which in all wrappers is what they wrap.
struct First {
    class: *mut PyObject,
    found: *mut PyObject,
}

impl First {
    extern "C" fn visit(o: *mut PyObject, first: *mut c_void) -> c_int {
        // SAFETY: what `first_shown` passes.
        let first = unsafe { &mut *first.cast::<First>() };
        // Types in the heap are shown by their objects.
        if o == first.class {
            return 0;
        }
        first.found = o;
        1
    }
}
