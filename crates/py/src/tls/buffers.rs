//! One set of buffers per loop for all its TLS connections.
//!
//! A buffer is taken out while it is used: whoever comes here meanwhile (a protocol called from within) gets a fresh one.

use std::cell::Cell;

/// As much plaintext as is handed to a protocol at once; as asyncio.
pub const PLAIN: usize = 256 * 1024;

/// What grew beyond this isn't kept.
const KEEP: usize = 256 * 1024;

#[derive(Default)]
pub struct Buffers {
    plain: Cell<Vec<u8>>,
    cipher: Cell<Vec<u8>>,
    gather: Cell<Vec<u8>>,
}

impl Buffers {
    /// Lends [`PLAIN`] bytes, of any content.
    #[inline]
    pub fn with_plain<T>(&self, f: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut buffer = self.plain.take();
        if buffer.len() < PLAIN {
            buffer = vec![0; PLAIN];
        }
        let result = f(&mut buffer);
        self.plain.set(buffer);
        result
    }

    /// Lends an empty vector for ciphertext.
    #[inline]
    pub fn with_cipher<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        with(&self.cipher, f)
    }

    /// Lends an empty vector for pieces of plaintext.
    pub fn with_gather<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        with(&self.gather, f)
    }
}

#[inline]
fn with<T>(place: &Cell<Vec<u8>>, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = place.take();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEEP {
        place.set(buffer);
    }
    result
}
