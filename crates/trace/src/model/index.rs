//! Which task has this key? Keys of a loop count up from 1, so pages of positions take 4 bytes a task where a hash table of keys
//! takes 20 to 40, and neighbours lie together.

use crate::by_number::ByNumber;
use crate::event::Key;

const PAGE: u64 = 256;
/// "No task" in a page; positions are stored one higher.
const NONE: u32 = 0;

#[derive(Default)]
pub struct Index {
    pages: ByNumber<u64, Box<[u32; PAGE as usize]>>,
}

impl Index {
    #[inline]
    pub fn get(&self, key: Key) -> Option<usize> {
        let page = self.pages.get(&(key / PAGE))?;
        (page[(key % PAGE) as usize] as usize).checked_sub(1)
    }

    /// `position` must be below `u32::MAX`.
    pub fn insert(&mut self, key: Key, position: usize) {
        let page = self.pages.entry(key / PAGE).or_insert_with(|| Box::new([NONE; PAGE as usize]));
        page[(key % PAGE) as usize] = position as u32 + 1;
    }

    pub fn clear(&mut self) {
        self.pages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LOOP_SHIFT;

    #[test]
    fn keys_of_several_loops_are_told_apart() {
        let mut index = Index::default();
        let keys: Vec<Key> = (0..1000).chain((1 << LOOP_SHIFT)..(1 << LOOP_SHIFT) + 1000).chain([u64::MAX]).collect();
        for (position, &key) in keys.iter().enumerate() {
            assert_eq!(index.get(key), None);
            index.insert(key, position);
        }
        assert!(keys.iter().enumerate().all(|(position, &key)| index.get(key) == Some(position)));
        index.clear();
        assert_eq!(index.get(1), None);
    }
}
