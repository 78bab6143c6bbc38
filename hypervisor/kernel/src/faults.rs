//! Recorded faults, kept for the root: a ring of a fixed size that says how many it had to drop.

use abi::vendor::Fault;
use arrayvec::ArrayVec;

const KEPT: usize = 64;
/// Faults that are collected in one go.
pub const PER_ROUND: usize = 64;

/// Faults that the root has not taken yet, oldest first.
#[derive(Debug, Default)]
pub struct Faults {
    kept: ArrayVec<Fault, KEPT>,
    lost: u64,
}

impl Faults {
    /// Keeps a fault, or counts it as lost.
    pub fn push(&mut self, fault: Fault) {
        if self.kept.try_push(fault).is_err() {
            self.lost += 1;
        }
    }

    /// Takes the oldest one; it says how many were lost since the last one taken.
    pub fn pop(&mut self) -> Option<Fault> {
        let mut fault = self.kept.pop_at(0)?;
        fault.lost = core::mem::take(&mut self.lost);
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_21_a_flood_is_counted_not_kept() {
        let mut faults = Faults::default();
        for address in 0..KEPT as u64 + 5 {
            faults.push(Fault {
                address,
                ..Fault::default()
            });
        }
        let first = faults.pop().unwrap();
        assert_eq!((first.address, first.lost), (0, 5));
        assert_eq!(faults.pop().unwrap().lost, 0);
        assert_eq!(core::iter::from_fn(|| faults.pop()).count(), KEPT - 2);
    }
}
