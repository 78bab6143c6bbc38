//! A set of vectors that knows its highest member: IRR, ISR and TMR.

use address::Vector;

/// Vectors 0 to 255, with the highest one kept at hand because every EOI and every delivery asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VectorSet {
    words: [u64; 4],
    /// One bit per word that is not zero, so that an EOI that empties the set searches nothing.
    occupied: u8,
    /// The highest member, -1 where there is none.
    highest: i16,
}

impl Default for VectorSet {
    fn default() -> Self {
        Self {
            words: [0; 4],
            occupied: 0,
            highest: -1,
        }
    }
}

impl VectorSet {
    /// The highest member.
    #[must_use]
    #[inline]
    pub fn highest(&self) -> Option<Vector> {
        u8::try_from(self.highest).ok().map(Vector)
    }

    /// Priority class of the highest member, 0 to 15; -1 where there is none.
    #[must_use]
    #[inline]
    pub(super) const fn highest_class(&self) -> i16 {
        self.highest >> 4
    }

    /// Whether `vector` is a member.
    #[must_use]
    #[inline]
    pub fn contains(&self, vector: Vector) -> bool {
        self.words[usize::from(vector.0 >> 6)] >> (vector.0 & 63) & 1 != 0
    }

    /// Adds `vector`.
    #[inline]
    pub fn insert(&mut self, vector: Vector) {
        let word = vector.0 >> 6;
        self.words[usize::from(word)] |= 1 << (vector.0 & 63);
        self.occupied |= 1 << word;
        self.highest = self.highest.max(i16::from(vector.0));
    }

    /// Removes `vector`.
    #[inline]
    pub fn remove(&mut self, vector: Vector) {
        let word = vector.0 >> 6;
        let left = self.words[usize::from(word)] & !(1 << (vector.0 & 63));
        self.words[usize::from(word)] = left;
        if left == 0 {
            self.occupied &= !(1 << word);
        }
        if self.highest == i16::from(vector.0) {
            self.highest = self.search();
        }
    }

    /// The highest member.
    #[inline]
    fn search(&self) -> i16 {
        if self.occupied == 0 {
            return -1;
        }
        let index = self.occupied.ilog2() as usize & 3;
        // A word that counts as occupied is not zero.
        (index as i16) << 6 | (63 - self.words[index].leading_zeros() as i16)
    }

    /// Adds the 32 vectors that the register with this index has, 0 to 7.
    pub fn insert_register(&mut self, index: u32, bits: u32) {
        let mut left = bits;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            self.insert(Vector((32 * (index & 7) + bit) as u8));
        }
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// 32 members as the register with this index shows them, 0 to 7.
    #[must_use]
    pub fn register(&self, index: u32) -> u32 {
        (self.words[(index >> 1 & 3) as usize] >> (32 * (index & 1))) as u32
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn registers_show_32_vectors_each() {
        let mut set = VectorSet::default();
        set.insert(Vector(0x41));
        set.insert(Vector(0xff));
        assert_eq!(
            (set.register(2), set.register(7), set.register(0)),
            (2, 1 << 31, 0)
        );
        let mut again = VectorSet::default();
        assert!(again.is_empty());
        (0..8).for_each(|index| again.insert_register(index, set.register(index)));
        assert_eq!(again, set);
    }

    proptest! {
        #[test]
        fn it_behaves_as_an_ordered_set(steps in prop::collection::vec((any::<u8>(), any::<bool>()), 0..200)) {
            let (mut set, mut model) = (VectorSet::default(), BTreeSet::new());
            for (vector, insert) in steps {
                if insert {
                    set.insert(Vector(vector));
                    model.insert(vector);
                } else {
                    set.remove(Vector(vector));
                    model.remove(&vector);
                }
                prop_assert_eq!(set.highest(), model.last().copied().map(Vector));
                prop_assert_eq!(set.contains(Vector(vector)), insert);
            }
        }
    }
}
