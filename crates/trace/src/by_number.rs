//! Tables by numbers that nobody chooses (counters, addresses): hashed by one multiplication, not against an adversary.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type ByNumber<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_i32(&mut self, number: i32) {
        self.write_u64(number as u32 as u64);
    }

    /// The table looks at the lowest bits, the multiplication mixes into the highest.
    #[inline]
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
