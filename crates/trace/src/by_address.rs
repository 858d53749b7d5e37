//! A table by addresses of what stays where it is: for what is looked up at every event and seldom added.
//!
//! Open addressing, so that what is found in its first place costs a dozen instructions. Nothing is ever taken out but everything.

/// Values by addresses that are not 0.
#[derive(Debug)]
pub struct ByAddress<V> {
    /// As many as a power of two; 0 where there is none. At most half of them are used.
    slots: Vec<(usize, V)>,
    used: usize,
}

const FIRST: usize = 64;

impl<V> Default for ByAddress<V> {
    fn default() -> Self {
        ByAddress { slots: Vec::new(), used: 0 }
    }
}

impl<V: Copy + Default> ByAddress<V> {
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The multiplication mixes into the highest bits.
    #[inline(always)]
    fn first_slot(address: usize) -> usize {
        (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26) as usize
    }

    #[inline(always)]
    pub fn get(&self, address: usize) -> Option<V> {
        let last = self.slots.len().checked_sub(1)?;
        let mut slot = Self::first_slot(address);
        loop {
            match self.slots[slot & last] {
                (0, _) => return None,
                (there, value) if there == address => return Some(value),
                _ => slot = slot.wrapping_add(1),
            }
        }
    }

    /// # Panics
    /// If the address is 0.
    pub fn insert(&mut self, address: usize, value: V) {
        assert!(address != 0, "nothing is at the address 0");
        if self.used * 2 >= self.slots.len() {
            let size = (self.slots.len() * 2).max(FIRST);
            let old = std::mem::replace(&mut self.slots, vec![(0, V::default()); size]);
            for (address, value) in old.into_iter().filter(|(address, _)| *address != 0) {
                self.put(address, value);
            }
        }
        self.used += usize::from(self.put(address, value));
    }

    /// Whether it is new; there is a free slot.
    fn put(&mut self, address: usize, value: V) -> bool {
        let last = self.slots.len() - 1;
        let mut slot = Self::first_slot(address) & last;
        while self.slots[slot].0 != 0 && self.slots[slot].0 != address {
            slot = (slot + 1) & last;
        }
        let new = self.slots[slot].0 == 0;
        self.slots[slot] = (address, value);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_was_put_in_and_nothing_else() {
        let mut table = ByAddress::default();
        assert_eq!(table.get(8), None);
        for i in 1..5_000usize {
            table.insert(i * 16, i);
            table.insert(i * 16, i + 1);
        }
        assert_eq!((table.len(), table.is_empty()), (4_999, false));
        for i in 1..5_000usize {
            assert_eq!(table.get(i * 16), Some(i + 1));
            assert_eq!(table.get(i * 16 + 2), None);
        }
        assert_eq!(table.get(0), None);
    }

    #[test]
    fn addresses_that_fall_into_the_same_slot_are_told_apart() {
        let mut table = ByAddress::default();
        // More than half of the first size, whatever they are mixed to.
        for address in (1..=31usize).map(|i| i << 38) {
            table.insert(address, address >> 38);
        }
        assert!((1..=31usize).all(|i| table.get(i << 38) == Some(i)));
        assert_eq!(table.get(32 << 38), None);
    }
}
