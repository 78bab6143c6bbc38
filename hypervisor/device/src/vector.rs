//! Vectors of LPs for device interrupts.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use address::{LpIndex, Vector};

/// Vectors that device interrupts may use on an LP. Those above are the hypervisor's own (kick, timer, fault).
pub const DEVICE_VECTORS: core::ops::RangeInclusive<u8> = 0x30..=0xef;

/// Which vectors of each LP are free. The one that has been free longest goes out first, so that an interrupt which an
/// LP had accepted before its vector changed hands has as much time as possible to be taken under its old meaning.
pub(crate) struct Vectors {
    free: Box<[VecDeque<u8>]>,
}

impl Vectors {
    pub(crate) fn new(lps: u16) -> Self {
        let all = || DEVICE_VECTORS.collect::<VecDeque<u8>>();
        Self {
            free: (0..lps).map(|_| all()).collect(),
        }
    }

    /// Takes a vector of the LP: `None` where the LP does not exist, `Some(None)` where it has none left.
    pub(crate) fn take(&mut self, lp: LpIndex) -> Option<Option<Vector>> {
        let free = self.free.get_mut(usize::from(lp.0))?;
        Some(free.pop_front().map(Vector))
    }

    /// Gives a vector back, once no remapping entry nor a cache of one can raise it (invariant 2).
    pub(crate) fn give_back(&mut self, lp: LpIndex, vector: Vector) {
        if let Some(free) = self.free.get_mut(usize::from(lp.0)) {
            debug_assert!(DEVICE_VECTORS.contains(&vector.0) && !free.contains(&vector.0));
            // Capacity is that of the full range since boot: this never allocates.
            free.push_back(vector.0);
        }
    }

    #[cfg(test)]
    pub(crate) fn left(&self, lp: LpIndex) -> usize {
        self.free.get(usize::from(lp.0)).map_or(0, VecDeque::len)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn int_08_vectors_come_from_the_range_and_never_twice() {
        let mut vectors = Vectors::new(2);
        let mut seen = HashSet::new();
        while let Some(Some(vector)) = vectors.take(LpIndex(1)) {
            assert!((0x30..=0xef).contains(&vector.0));
            assert!(seen.insert(vector.0));
        }
        assert_eq!(seen.len(), 0xf0 - 0x30);
        assert_eq!(vectors.take(LpIndex(1)), Some(None));
        assert_eq!(vectors.left(LpIndex(0)), 0xf0 - 0x30);
        assert_eq!(vectors.take(LpIndex(2)), None);
    }

    #[test]
    fn a_vector_that_comes_back_goes_out_last() {
        let mut vectors = Vectors::new(1);
        let first = vectors.take(LpIndex(0)).flatten().unwrap();
        vectors.give_back(first_lp(), first);
        for _ in 0..(0xf0 - 0x30 - 1) {
            assert_ne!(vectors.take(LpIndex(0)).flatten(), Some(first));
        }
        assert_eq!(vectors.take(LpIndex(0)).flatten(), Some(first));
    }

    fn first_lp() -> LpIndex {
        LpIndex(0)
    }
}
