//! Python's objects read as memory, by a thread without the GIL: texts, and where a suspended coroutine is.
//!
//! Every word is copied by the kernel (`process_vm_readv`), so that an address that leads nowhere is an error and no fault, and nothing is
//! assumed about what was copied but what is checked: types by their addresses, lengths by bounds. Where things are in the interpreter's
//! objects is found out by trying, once, with the GIL ([`Layout::found`]): what gives other answers than Python does isn't read at all.
//! `peek.rs` asks.

use pyo3::ffi;
use pyo3::prelude::*;
use trace::event::Owner;

use crate::places::Owners;
use crate::raw::frame_layout;

/// Coroutines that await each other.
pub const DEEPEST: usize = 100;
const LONGEST_TEXT: usize = 4096;
pub const WORD: usize = std::mem::size_of::<usize>();
/// Pointers may be marked in their lowest bits (from 3.14 on).
const MARKS: usize = 3;

fn copy(from: usize, to: &mut [u8]) -> Option<()> {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: from as *mut _, iov_len: to.len() };
    // SAFETY: the kernel writes into `to`, which is ours, and refuses what it can't read.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    (copied >= 0 && copied as usize == to.len()).then_some(())
}

pub fn bytes(from: usize, length: usize) -> Option<Vec<u8>> {
    let mut copied = vec![0; length];
    copy(from, &mut copied)?;
    Some(copied)
}

pub fn word(from: usize) -> Option<usize> {
    let mut copied = [0; WORD];
    copy(from, &mut copied)?;
    Some(usize::from_ne_bytes(copied))
}

fn int(from: usize) -> Option<i32> {
    let mut copied = [0; 4];
    copy(from, &mut copied)?;
    Some(i32::from_ne_bytes(copied))
}

/// A word of what was copied.
pub fn word_in(copied: &[u8], at: usize) -> usize {
    copied.get(at..at + WORD).and_then(|bytes| bytes.try_into().ok()).map_or(0, usize::from_ne_bytes)
}

/// Bits of a str's state, behind the three of its kind: bytes of a character.
const COMPACT: usize = 1 << 3;
const ASCII: usize = 1 << 4;

/// What is known of the interpreter's objects. All offsets are in bytes from an object's beginning.
#[derive(Clone, Debug)]
pub struct Layout {
    text_type: usize,
    coroutine_types: [usize; 3],
    /// The first bit of a str's kind in its state.
    kind: u32,
    /// In coroutines and generators.
    qualname: usize,
    owners: Owners,
    /// None where frames look different from all that we know: then there are no places.
    frames: Option<Frames>,
}

#[derive(Clone, Debug)]
struct Frames {
    code_type: usize,
    // In coroutines and generators:
    frame: usize,
    state: usize,
    suspended: u8,
    // In a frame:
    code: usize,
    instruction: usize,
    /// How far below the top of its stack is what it awaits.
    depth: usize,
    // In code objects:
    file: usize,
    function: usize,
    first_line: usize,
    lines: usize,
    bytecode: usize,
}

/// Where in a frame its stack is: tried before it is believed.
mod in_frame {
    /// The number of values in the frame, or from 3.14 on the address behind the last.
    pub const TOP: usize = 64;
    pub const LOCALS: usize = 72;
}

/// Where a coroutine is.
pub struct Place {
    pub file: String,
    pub function: String,
    pub line: u32,
    pub owner: Owner,
}

impl Layout {
    /// Tries how the running interpreter's objects look. None if not even a coroutine's name is where it should be.
    pub fn found(py: Python<'_>) -> PyResult<Option<Layout>> {
        let sample = py.import("segue._sample_chain")?.call_method0("make")?;
        let (coroutine, expected): (Bound<'_, PyAny>, Vec<(String, String, u32)>) = sample.extract()?;
        let qualname = coroutine.getattr("__qualname__")?;
        let begin = coroutine.as_ptr() as usize;
        // SAFETY: alive, and so is its type.
        let size = unsafe { (*ffi::Py_TYPE(coroutine.as_ptr())).tp_basicsize } as usize;
        let Some(copied) = bytes(begin, size) else { return Ok(None) };
        let named = (2..size / WORD).map(|number| number * WORD);
        let Some(named) = named.into_iter().find(|&at| word_in(&copied, at) == qualname.as_ptr() as usize) else {
            return Ok(None);
        };
        // An ASCII text of one byte for each character: after the bits that say whether it is interned, which differ.
        let state = word(qualname.as_ptr() as usize + 4 * WORD).unwrap_or(0);
        let Some(kind) = (0..24).find(|shift| state >> shift & 0x1f == 1 | COMPACT | ASCII) else { return Ok(None) };
        let mut layout = Layout {
            text_type: &raw mut ffi::PyUnicode_Type as usize,
            coroutine_types: [
                &raw mut ffi::PyCoro_Type as usize,
                &raw mut ffi::PyGen_Type as usize,
                &raw mut ffi::PyAsyncGen_Type as usize,
            ],
            kind,
            qualname: named,
            owners: Owners::new(py)?,
            frames: Frames::found(py)?,
        };
        let is_alike = |(place, (file, function, line)): (&Place, &(String, String, u32))| {
            (&place.file, &place.function, place.line) == (file, function, *line)
        };
        // From 3.15 on there is an index above it.
        let is_right = (0..2).any(|depth| {
            layout.frames.iter_mut().for_each(|frames| frames.depth = depth);
            let found = layout.chain(begin);
            found.len() == expected.len() && found.iter().zip(&expected).all(is_alike)
        });
        if !is_right {
            layout.frames = None;
        }
        coroutine.call_method0("close")?;
        Ok(Some(layout))
    }

    /// Whether coroutines are told where they are.
    pub fn has_places(&self) -> bool {
        self.frames.is_some()
    }

    /// A str, if there is one.
    pub fn text(&self, o: usize) -> Option<String> {
        let ascii = std::mem::size_of::<ffi::PyASCIIObject>();
        let head = bytes(o, ascii)?;
        if word_in(&head, WORD) != self.text_type {
            return None;
        }
        let (length, state) = (word_in(&head, 2 * WORD), word_in(&head, 4 * WORD));
        if length > LONGEST_TEXT {
            return None;
        }
        let state = state >> self.kind;
        let kind = state & 7;
        if state & COMPACT == 0 {
            return None;
        }
        if state & ASCII != 0 {
            return String::from_utf8(bytes(o + ascii, length)?).ok();
        }
        let data = bytes(o + std::mem::size_of::<ffi::PyCompactUnicodeObject>(), length * kind)?;
        let characters = data.chunks_exact(kind.max(1)).map(|unit| {
            let number = unit.iter().rev().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
            char::from_u32(number).unwrap_or('\u{fffd}')
        });
        Some(characters.collect())
    }

    fn is_coroutine(&self, o: usize) -> bool {
        word(o + WORD).is_some_and(|class| self.coroutine_types.contains(&class))
    }

    pub fn coroutine_name(&self, coroutine: usize) -> Option<String> {
        if !self.is_coroutine(coroutine) {
            return None;
        }
        self.text(word(coroutine + self.qualname)?)
    }

    /// Where a coroutine is and, while it is suspended, what it awaits; the outermost first.
    pub fn chain(&self, coroutine: usize) -> Vec<Place> {
        let (mut found, mut at) = (Vec::new(), coroutine);
        while found.len() < DEEPEST && self.is_coroutine(at) {
            let Some(place) = self.place(at) else { break };
            found.push(place);
            let Some(next) = self.awaited(at) else { break };
            at = next;
        }
        found
    }

    pub fn place(&self, coroutine: usize) -> Option<Place> {
        let frames = self.frames.as_ref()?;
        let code = word(coroutine + frames.frame + frames.code)? & !MARKS;
        if word(code + WORD)? != frames.code_type {
            return None;
        }
        let offset = word(coroutine + frames.frame + frames.instruction)?.checked_sub(code + frames.bytecode)?;
        let file = self.text(word(code + frames.file)?)?;
        Some(Place {
            function: self.text(word(code + frames.function)?)?,
            line: frames.line(code, offset)?,
            owner: self.owners.of_file(&file),
            file,
        })
    }

    /// What it awaits, if it is suspended there: near the top of its frame's stack.
    fn awaited(&self, coroutine: usize) -> Option<usize> {
        let frames = self.frames.as_ref()?;
        if bytes(coroutine + frames.state, 1)? != [frames.suspended] {
            return None;
        }
        let frame = coroutine + frames.frame;
        let end = if cfg!(Py_3_14) {
            word(frame + in_frame::TOP)?
        } else {
            let values =
                usize::try_from(int(frame + in_frame::TOP)?).ok().filter(|&count| (1..100_000).contains(&count))?;
            frame + in_frame::LOCALS + values * WORD
        };
        let last = end.checked_sub((frames.depth + 1) * WORD)?;
        Some(word(last)? & !MARKS)
    }
}

impl Frames {
    fn found(py: Python<'_>) -> PyResult<Option<Frames>> {
        let Some(known) = &frame_layout::find(py)?.layout else { return Ok(None) };
        // SAFETY: the interpreter's own type.
        let member = |name: &str| unsafe { member_offset(&raw mut ffi::PyCode_Type, name) };
        let (Some(file), Some(function), Some(first_line), Some(lines)) =
            (member("co_filename"), member("co_qualname"), member("co_firstlineno"), member("co_linetable"))
        else {
            return Ok(None);
        };
        Ok(Some(Frames {
            code_type: &raw mut ffi::PyCode_Type as usize,
            frame: known.frame,
            state: known.state,
            suspended: known.suspended,
            code: known.code,
            instruction: known.instruction,
            depth: 0,
            file,
            function,
            first_line,
            lines,
            bytecode: known.bytecode,
        }))
    }

    /// The line of an instruction, by the table that every code object has (Objects/locations.md in CPython's source).
    fn line(&self, code: usize, offset: usize) -> Option<u32> {
        let table = word(code + self.lines)?;
        let length = word(table + 2 * WORD)?;
        if length > 1 << 20 {
            return None;
        }
        let table = bytes(table + std::mem::size_of::<ffi::PyVarObject>() + WORD, length)?;
        line_in(&table, int(code + self.first_line)?, offset / 2)
    }
}

fn line_in(table: &[u8], first: i32, instruction: usize) -> Option<u32> {
    let (mut line, mut at, mut reached) = (first, 0, 0);
    while at < table.len() {
        let head = table[at];
        at += 1;
        let varint = |at: &mut usize| -> u32 {
            let (mut value, mut shift) = (0, 0);
            while let Some(&byte) = table.get(*at) {
                *at += 1;
                value |= u32::from(byte & 63).checked_shl(shift).unwrap_or(0);
                shift += 6;
                if byte & 64 == 0 {
                    break;
                }
            }
            value
        };
        let signed = |at: &mut usize| -> i32 {
            let value = varint(at);
            if value & 1 != 0 {
                -((value >> 1) as i32)
            } else {
                (value >> 1) as i32
            }
        };
        let mut has_line = true;
        match head >> 3 & 15 {
            15 => has_line = false,
            14 => {
                line = line.wrapping_add(signed(&mut at));
                for _ in 0..3 {
                    varint(&mut at);
                }
            }
            13 => line = line.wrapping_add(signed(&mut at)),
            form @ 10..=12 => {
                line = line.wrapping_add(i32::from(form) - 10);
                at += 2;
            }
            _ => at += 1,
        }
        reached += usize::from(head & 7) + 1;
        if instruction < reached {
            return if has_line { u32::try_from(line).ok() } else { Some(0) };
        }
    }
    None
}

/// What is in a list, if there is one.
pub fn list(o: usize) -> Vec<usize> {
    if o == 0 || word(o + WORD) != Some(&raw mut ffi::PyList_Type as usize) {
        return Vec::new();
    }
    let (Some(length), Some(items)) = (word(o + 2 * WORD), word(o + 3 * WORD)) else { return Vec::new() };
    let items = bytes(items, length.min(DEEPEST) * WORD).unwrap_or_default();
    (0..items.len()).step_by(WORD).map(|at| word_in(&items, at)).collect()
}

/// Where a type's member of this name is.
///
/// # Safety
/// The type is the interpreter's own.
unsafe fn member_offset(class: *mut ffi::PyTypeObject, name: &str) -> Option<usize> {
    // SAFETY: a list that ends with an entry without a name.
    unsafe {
        let mut member = (*class).tp_members;
        while !member.is_null() && !(*member).name.is_null() {
            if std::ffi::CStr::from_ptr((*member).name).to_bytes() == name.as_bytes() {
                return usize::try_from((*member).offset).ok();
            }
            member = member.add(1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_and_not_touched() {
        let value = 42usize;
        assert_eq!(word(std::ptr::from_ref(&value) as usize), Some(42));
        assert_eq!((word(0), word(8), bytes(usize::MAX - 100, 50)), (None, None, None));
    }

    #[test]
    fn lines_of_a_table_of_locations() {
        // One line forward for two instructions (form 11), three on the same (a short form), five back for one (form 13), none.
        let table = [0x80 | 11 << 3 | 1, 0, 4, 0x80 | 2, 0x10, 0x80 | 13 << 3, 5 << 1 | 1, 0x80 | 15 << 3];
        let lines: Vec<_> = (0..8).map(|instruction| line_in(&table, 10, instruction)).collect();
        assert_eq!(lines, [Some(11), Some(11), Some(11), Some(11), Some(11), Some(6), Some(0), None]);
    }
}
