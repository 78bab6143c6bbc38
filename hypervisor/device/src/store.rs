//! Tables of fixed capacity: made at boot, never grown.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Slots with numbers. A number that was given back goes out again as late as possible.
pub(crate) struct Slots<T> {
    slots: Box<[Option<T>]>,
    free: VecDeque<u16>,
    used: usize,
}

impl<T> Slots<T> {
    pub(crate) fn new(capacity: u16) -> Self {
        Self {
            slots: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).collect(),
            used: 0,
        }
    }

    /// Slots there are, used or not.
    pub(crate) const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The number that [`Self::insert`] would use.
    pub(crate) fn next(&self) -> Option<u16> {
        self.free.front().copied()
    }

    /// Fills a free slot and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> Option<u16> {
        let number = self.free.pop_front()?;
        *self.slots.get_mut(usize::from(number))? = Some(value);
        self.used += 1;
        Some(number)
    }

    pub(crate) fn get(&self, number: u16) -> Option<&T> {
        self.slots.get(usize::from(number))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut T> {
        self.slots.get_mut(usize::from(number))?.as_mut()
    }

    /// Empties a slot whose number must not be used again for now: see [`Self::release`].
    pub(crate) fn take(&mut self, number: u16) -> Option<T> {
        let value = self.slots.get_mut(usize::from(number))?.take()?;
        self.used -= 1;
        Some(value)
    }

    /// Makes the number of an emptied slot available again (invariant 2: after its flush).
    pub(crate) fn release(&mut self, number: u16) {
        debug_assert!(self.get(number).is_none() && !self.free.contains(&number));
        // Capacity is that of all slots since boot: this never allocates.
        self.free.push_back(number);
    }

    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        let numbered = self.slots.iter().zip(0u16..);
        numbered.filter_map(|(slot, number)| slot.as_ref().map(|value| (number, value)))
    }
}

/// A sorted list from keys to slot numbers.
pub(crate) struct Index<K> {
    entries: Vec<(K, u16)>,
}

impl<K: Ord + Copy> Index<K> {
    pub(crate) fn new(capacity: u16) -> Self {
        Self {
            entries: Vec::with_capacity(usize::from(capacity)),
        }
    }

    #[inline]
    pub(crate) fn find(&self, key: K) -> Option<u16> {
        let at = self.entries.binary_search_by_key(&key, |entry| entry.0);
        at.ok()
            .and_then(|at| self.entries.get(at))
            .map(|entry| entry.1)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    /// Adds a key; `false` where it is there already or the list is full.
    pub(crate) fn insert(&mut self, key: K, number: u16) -> bool {
        match self.entries.binary_search_by_key(&key, |entry| entry.0) {
            Err(at) if self.entries.len() < self.entries.capacity() => {
                self.entries.insert(at, (key, number));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn remove(&mut self, key: K) {
        if let Ok(at) = self.entries.binary_search_by_key(&key, |entry| entry.0) {
            self.entries.remove(at);
        }
    }

    /// The first entry with a key at or above this one.
    pub(crate) fn at_or_after(&self, key: K) -> Option<(K, u16)> {
        let at = self.entries.partition_point(|entry| entry.0 < key);
        self.entries.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mem_07_a_full_table_gives_nothing_and_a_released_number_comes_back_last() {
        let mut slots = Slots::new(3);
        assert_eq!(slots.insert('a'), Some(0));
        assert_eq!(slots.take(0), Some('a'));
        assert_eq!(slots.insert('b'), Some(1));
        slots.release(0);
        assert_eq!(slots.insert('c'), Some(2));
        assert_eq!(slots.insert('d'), Some(0));
        assert_eq!(slots.insert('e'), None);
        assert_eq!(slots.used(), 3);
    }

    #[test]
    fn tlb_07_a_taken_number_is_not_used_again_before_it_is_released() {
        let mut slots = Slots::new(1);
        assert_eq!(slots.insert('a'), Some(0));
        assert_eq!(slots.take(0), Some('a'));
        assert_eq!(slots.insert('b'), None);
        slots.release(0);
        assert_eq!(slots.insert('b'), Some(0));
    }

    #[test]
    fn an_index_finds_what_it_holds() {
        let mut index = Index::new(2);
        assert!(index.insert(7, 1));
        assert!(!index.insert(7, 2));
        assert!(index.insert(3, 0));
        assert!(!index.insert(9, 2), "full");
        assert_eq!(
            (index.find(3), index.find(7), index.find(4)),
            (Some(0), Some(1), None)
        );
        assert_eq!(index.at_or_after(4), Some((7, 1)));
        index.remove(3);
        assert_eq!(index.find(3), None);
    }
}
