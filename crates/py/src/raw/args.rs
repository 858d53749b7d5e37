//! Arguments of METH_FASTCALL | METH_KEYWORDS methods, with the messages Python's own functions give.

use pyo3::ffi::{self, PyObject};

use super::obj::{type_error, Raised, R};

/// What the interpreter passed.
#[derive(Clone, Copy)]
pub struct Args {
    pub items: *const *mut PyObject,
    pub positional: usize,
    /// A tuple of names, or null.
    pub names: *mut PyObject,
}

impl Args {
    #[inline(always)]
    pub fn positional(&self) -> &[*mut PyObject] {
        if self.positional == 0 {
            return &[];
        }
        // SAFETY: the interpreter passes `positional` live pointers.
        unsafe { std::slice::from_raw_parts(self.items, self.positional) }
    }

    #[inline(always)]
    pub fn has_keywords(&self) -> bool {
        // SAFETY: `names` is null or a tuple.
        !self.names.is_null() && unsafe { ffi::PyTuple_GET_SIZE(self.names) } > 0
    }

    /// The name and value of each keyword, borrowed.
    pub fn keywords(&self) -> impl Iterator<Item = (*mut PyObject, *mut PyObject)> + '_ {
        // SAFETY: `names` is null or a tuple, and its values follow the positional arguments.
        let n = if self.names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(self.names) } };
        (0..n).map(move |i| {
            // SAFETY: `i` is within the tuple and the values.
            unsafe { (ffi::PyTuple_GET_ITEM(self.names, i), *self.items.add(self.positional + i as usize)) }
        })
    }

    /// Fits the arguments to `names`: the first `max_positional` of them may be positional, the first `required` must be
    /// there. The result is borrowed; null where nothing was given.
    #[inline]
    pub fn fit<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
        max_positional: usize,
        required: usize,
    ) -> R<[*mut PyObject; N]> {
        let mut out = [std::ptr::null_mut(); N];
        let given = self.positional();
        if given.len() > max_positional {
            return Err(type_error(&format!(
                "{function}() takes at most {max_positional} positional argument{} ({} given)",
                if max_positional == 1 { "" } else { "s" },
                given.len()
            )));
        }
        out[..given.len()].copy_from_slice(given);
        if self.has_keywords() {
            self.fit_keywords(function, &names, &mut out)?;
        }
        for i in 0..required {
            if out[i].is_null() {
                return Err(type_error(&format!(
                    "{function}() missing required argument '{}' (pos {})",
                    names[i],
                    i + 1
                )));
            }
        }
        Ok(out)
    }

    /// As [`Args::fit`], with None for arguments that don't fit.
    #[inline]
    pub fn try_fit<const N: usize>(
        &self,
        names: [&str; N],
        max_positional: usize,
        required: usize,
    ) -> R<Option<[*mut PyObject; N]>> {
        let mut out = [std::ptr::null_mut(); N];
        let given = self.positional();
        if given.len() > max_positional {
            return Ok(None);
        }
        out[..given.len()].copy_from_slice(given);
        if self.has_keywords() {
            for (key, value) in self.keywords() {
                let key = text_of(key)?;
                match names.iter().position(|n| *n == key) {
                    Some(i) if out[i].is_null() => out[i] = value,
                    _ => return Ok(None),
                }
            }
        }
        Ok(out[..required].iter().all(|p| !p.is_null()).then_some(out))
    }

    fn fit_keywords(&self, function: &str, names: &[&str], out: &mut [*mut PyObject]) -> R<()> {
        for (key, value) in self.keywords() {
            let key = text_of(key)?;
            match names.iter().position(|n| *n == key) {
                None => {
                    return Err(type_error(&format!("{function}() got an unexpected keyword argument '{key}'")));
                }
                Some(i) if !out[i].is_null() => {
                    return Err(type_error(&format!("{function}() got multiple values for argument '{key}'")));
                }
                Some(i) => out[i] = value,
            }
        }
        Ok(())
    }
}

/// The text of a Python string, borrowed from it.
pub fn text_of<'a>(s: *mut PyObject) -> R<&'a str> {
    let mut n = 0;
    // SAFETY: returns null with an error for anything but a string; the buffer lives as long as the string, which the
    // callers keep alive while they look.
    unsafe {
        let p = ffi::PyUnicode_AsUTF8AndSize(s, &mut n);
        if p.is_null() {
            return Err(Raised);
        }
        Ok(std::str::from_utf8_unchecked(std::slice::from_raw_parts(p.cast(), n as usize)))
    }
}

/// Arguments as `tp_new`/`tp_init` get them: a tuple and a dict.
pub fn fit_tuple_dict<const N: usize>(
    args: *mut PyObject,
    kwargs: *mut PyObject,
    function: &str,
    names: [&str; N],
    max_positional: usize,
    required: usize,
) -> R<[*mut PyObject; N]> {
    // SAFETY: `args` is a tuple, `kwargs` null or a dict; both outlive the borrowed results.
    unsafe {
        let mut items: Vec<*mut PyObject> =
            (0..ffi::PyTuple_GET_SIZE(args)).map(|i| ffi::PyTuple_GET_ITEM(args, i)).collect();
        let positional = items.len();
        let mut keys = Vec::new();
        if !kwargs.is_null() {
            let (mut pos, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            while ffi::PyDict_Next(kwargs, &mut pos, &mut key, &mut value) != 0 {
                keys.push(key);
                items.push(value);
            }
        }
        let names_tuple = super::obj::Obj::tuple(&keys)?;
        Args { items: items.as_ptr(), positional, names: names_tuple.as_ptr() }.fit(
            function,
            names,
            max_positional,
            required,
        )
    }
}
