//! FW-04: memory that firmware reserves for devices is believed only where its memory map says the same.

use address::Spa;

use crate::{Problem, Topology};

/// Ranges that are looked at. More are on no machine.
pub const MOST_RESERVED: usize = 32;

impl Topology {
    /// Takes back every reserved range that is not `firmwares` to the last byte, and says which. The owner of the memory map is
    /// asked, with the first byte and the number of bytes; whole pages, not none, and no end past 2^64 are for it to see to, too.
    /// The functions stay unassignable, whatever becomes of their ranges.
    pub fn judge_reserved(&mut self, firmwares: impl Fn(Spa, u64) -> bool) {
        for (number, reserved) in self.reserved.iter_mut().enumerate() {
            if let Some((start, bytes)) = reserved.range
                && (number >= MOST_RESERVED || !firmwares(start, bytes))
            {
                reserved.range = None;
                self.problems.push(Problem::Reserved { start, bytes });
            }
        }
    }
}
