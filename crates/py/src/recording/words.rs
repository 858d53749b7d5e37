//! The words of a recording: numbers for texts and for places in the source, and what is called what.
//!
//! One per recording, for all its loops; touched with the GIL held. What was given a number is handed to the recorder's thread
//! ([`Words::defined_after`]), which needs no GIL.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use trace::by_number::ByNumber;
use trace::event::{Definition, Owner, Place, Text};

use crate::places::Places;
use crate::raw::globals::globals;
use crate::raw::obj::{forget_raised, function_of_method, getattr_opt};
use crate::raw::{Obj, Raised};

/// Bytes of different texts that are kept; what comes later is "" (a program can make up endless exception texts).
const MOST: usize = 16 << 20;
/// How many objects have their number remembered (and are kept alive for it).
const REMEMBERED: usize = 10_000;

pub struct Words {
    pub places: Places,
    texts: RefCell<HashMap<Box<str>, Text>>,
    rows: RefCell<HashMap<(Text, u32, Text), Place>>,
    bytes: Cell<usize>,
    /// Numbers of names by the address of what is named, which is kept alive.
    named: RefCell<ByNumber<usize, (Text, Obj)>>,
    /// Numbers of words of our own, by their address.
    own: RefCell<ByNumber<usize, Text>>,
    defined: Mutex<Vec<Definition>>,
}

// SAFETY: all but `defined`, which is a lock, is touched with the GIL held only.
unsafe impl Sync for Words {}
// SAFETY: as above.
unsafe impl Send for Words {}

impl Words {
    pub fn new(py: Python<'_>) -> PyResult<Words> {
        Ok(Words {
            places: Places::new(py)?,
            texts: RefCell::default(),
            rows: RefCell::default(),
            bytes: Cell::new(0),
            named: RefCell::default(),
            own: RefCell::default(),
            defined: Mutex::default(),
        })
    }

    pub fn text(&self, text: &str) -> Text {
        if text.is_empty() {
            return 0;
        }
        if let Some(&number) = self.texts.borrow().get(text) {
            return number;
        }
        if self.bytes.get() + text.len() > MOST {
            return 0;
        }
        self.bytes.set(self.bytes.get() + text.len() + 32);
        let mut texts = self.texts.borrow_mut();
        let number = texts.len() as Text + 1;
        texts.insert(text.into(), number);
        self.define(Definition::Text { number, text: text.into() });
        number
    }

    /// A word of our own.
    #[inline]
    pub fn own(&self, text: &'static str) -> Text {
        let key = text.as_ptr() as usize;
        if let Some(&number) = self.own.borrow().get(&key) {
            return number;
        }
        let number = self.text(text);
        self.own.borrow_mut().insert(key, number);
        number
    }

    /// The number of a place that is written "file:line function".
    pub fn place(&self, words: &str) -> Place {
        let Some((file, line, function)) = parts(words) else { return 0 };
        self.row(file, line, function, self.places.files.of_file(file))
    }

    pub fn place_of(&self, words: &crate::places::Words) -> Place {
        self.row(&words.file, words.line, &words.function, words.owner)
    }

    fn row(&self, file: &str, line: u32, function: &str, owner: Owner) -> Place {
        let key = (self.text(file), line, self.text(function));
        if let Some(&number) = self.rows.borrow().get(&key) {
            return number;
        }
        let mut rows = self.rows.borrow_mut();
        let number = rows.len() as Place + 1;
        rows.insert(key, number);
        let (file, line, function) = key;
        self.define(Definition::Place { number, file, line, function, owner });
        number
    }

    fn define(&self, definition: Definition) {
        if let Ok(mut defined) = self.defined.lock() {
            defined.push(definition);
        }
    }

    /// What was defined beyond the first `count`.
    pub fn defined_after(&self, count: usize) -> Vec<Definition> {
        self.defined.lock().map_or_else(|_| Vec::new(), |defined| defined.get(count..).unwrap_or_default().to_vec())
    }

    /// The text of that number. Looks at all of them.
    pub fn text_of_number(&self, wanted: Text) -> Option<String> {
        let defined = self.defined.lock().ok()?;
        defined.iter().find_map(|definition| match definition {
            Definition::Text { number, text } if *number == wanted => Some(text.to_string()),
            _ => None,
        })
    }

    /// What an object is called, asked by `ask` the first time. `o` is kept alive for it, so it should be one of few.
    fn named(&self, o: *mut PyObject, ask: impl FnOnce() -> String) -> Text {
        let key = o as usize;
        if let Some((number, _)) = self.named.borrow().get(&key) {
            return *number;
        }
        let number = self.text(&ask());
        // What is forgotten is dropped with nothing borrowed.
        let full = self.named.borrow().len() >= REMEMBERED;
        let old = if full { self.named.take() } else { ByNumber::default() };
        drop(old);
        // SAFETY: alive.
        let kept = unsafe { Obj::borrowed(o) };
        self.named.borrow_mut().insert(key, (number, kept));
        number
    }

    /// A coroutine's qualified name, or its type's if it has none.
    pub fn coroutine(&self, coro: &Obj) -> Text {
        // SAFETY: alive.
        let name = unsafe { self.places.coroutines_name(coro.as_ptr()) };
        if !name.is_null() {
            return self.named(name, || text_of(name));
        }
        match getattr_opt(coro.as_ptr(), globals().names.qualname) {
            Ok(Some(name)) => {
                let p = name.as_ptr();
                self.named(p, || text_of(p))
            }
            Ok(None) => self.class_of(coro.as_ptr()),
            Err(Raised) => {
                forget_raised();
                0
            }
        }
    }

    /// Where a suspended coroutine waits, and what it has called there.
    #[inline]
    pub fn waits_at(&self, coro: *mut PyObject) -> (Place, Text) {
        // SAFETY: a task's coroutine, which has suspended.
        let (place, called) = unsafe { self.places.waits_at_in(coro, |words| self.place_of(words)) };
        (place, if called.is_null() { 0 } else { self.code(called) })
    }

    /// The qualified name of code.
    #[inline]
    fn code(&self, code: *mut PyObject) -> Text {
        self.named(code, || attribute_text(code, "co_qualname"))
    }

    /// The name of an object's class.
    pub fn class_of(&self, o: *mut PyObject) -> Text {
        // SAFETY: alive; a type lives as long as its instance.
        let class = unsafe { ffi::Py_TYPE(o) };
        self.named(class.cast(), || class_name(class))
    }

    /// Where the code of a Python function begins, as "file:line function"; "" for what is none.
    pub fn begins_at(&self, o: *mut PyObject) -> String {
        if o.is_null() {
            return String::new();
        }
        let function = function_of_method(o).unwrap_or(o);
        // SAFETY: alive; a function's code is borrowed from it.
        let code = unsafe {
            if ffi::PyFunction_Check(function) == 0 {
                return String::new();
            }
            ffi::PyFunction_GetCode(function)
        };
        // SAFETY: attached; alive.
        let line = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), code) };
        let Ok(line) = line.getattr("co_firstlineno") else { return String::new() };
        format!("{}:{line} {}", attribute_text(code, "co_filename"), attribute_text(code, "co_qualname"))
    }

    /// What a callback is called: "Class.method", "function", or the type of what is neither.
    pub fn callable(&self, o: *mut PyObject) -> Text {
        if o.is_null() {
            return 0;
        }
        let function = function_of_method(o).unwrap_or(o);
        // SAFETY: alive; a function's code is borrowed from it.
        unsafe {
            if ffi::PyFunction_Check(function) != 0 {
                let code = ffi::PyFunction_GetCode(function);
                return self.code(code);
            }
            if ffi::PyCFunction_Check(function) != 0 {
                // Built-in methods are made anew each time; their names are few.
                return self.text(&attribute_text(function, "__qualname__"));
            }
        }
        self.class_of(function)
    }
}

/// "file:line function".
fn parts(words: &str) -> Option<(&str, u32, &str)> {
    // A file's name may hold colons and blanks; the line is the last number between a colon and a blank.
    let mut end = words.len();
    while let Some(colon) = words[..end].rfind(':') {
        let rest = &words[colon + 1..];
        if let Some((line, function)) = rest.split_once(' ') {
            if let Ok(line) = line.parse() {
                return Some((&words[..colon], line, function));
            }
        }
        end = colon;
    }
    None
}

fn text_of(o: *mut PyObject) -> String {
    match crate::raw::args::text_of(o) {
        Ok(text) => text.to_owned(),
        Err(Raised) => {
            forget_raised();
            String::new()
        }
    }
}

fn attribute_text(o: *mut PyObject, name: &str) -> String {
    let found = Obj::name(name).and_then(|name| getattr_opt(o, name.as_ptr()));
    match found {
        Ok(text) => text.map_or_else(String::new, |text| text_of(text.as_ptr())),
        Err(Raised) => {
            forget_raised();
            String::new()
        }
    }
}

fn class_name(class: *mut ffi::PyTypeObject) -> String {
    // SAFETY: a type's name lives as long as it does.
    let name = unsafe { std::ffi::CStr::from_ptr((*class).tp_name) }.to_string_lossy();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}
