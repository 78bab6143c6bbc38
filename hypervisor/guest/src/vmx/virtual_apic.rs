//! Intel SDM volume 3, sections "virtual APIC state" and "guest interrupt status": where the page of a guest's APIC keeps its
//! registers, and what the processor knows of them besides.

use bitfield_struct::bitfield;

/// Local APIC id.
pub const ID: usize = 0x20;
/// Version.
pub const VERSION: usize = 0x30;
/// Task priority.
pub const TASK_PRIORITY: usize = 0x80;
/// Logical destination.
pub const LOGICAL: usize = 0xd0;
/// The first of eight registers that say what is in service.
pub const IN_SERVICE: usize = 0x100;
/// The first of eight registers that say what is requested.
pub const REQUESTED: usize = 0x200;
/// The request of vector 0, which stands in the first register for ever: below 16, it is never delivered, and it is the lowest,
/// so that the status says 0 whether it is there or not. With it the requests are never none, for which one processor (Bochs's)
/// takes 255 for the highest when a notification comes behind which no posted interrupt is left.
pub const FLOOR: u32 = 1;
/// Bytes from one register to the next.
pub const STRIDE: usize = 0x10;

/// The highest vectors of two sets of registers, 0 where there is none.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct InterruptStatus {
    /// Requested.
    pub requested: u8,
    /// In service.
    pub served: u8,
}

impl InterruptStatus {
    /// What belongs to these registers.
    #[must_use]
    pub fn of(requested: &[u32; 8], served: &[u32; 8]) -> Self {
        Self::new()
            .with_requested(highest(requested))
            .with_served(highest(served))
    }

    /// Whether priorities let the requested vector through.
    #[must_use]
    pub const fn delivers(self, task_priority: u8) -> bool {
        let class = self.requested() >> 4;
        class > task_priority && class > self.served() >> 4
    }
}

/// The highest vector of eight registers, 0 where there is none: vectors below 16 are never there.
#[must_use]
pub fn highest(registers: &[u32; 8]) -> u8 {
    let found = registers.iter().rposition(|&register| register != 0);
    found.map_or(0, |index| {
        (32 * index) as u8 + 31 - registers[index].leading_zeros() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_holds_the_highest_vectors() {
        let status = InterruptStatus::of(&[0, 0, 1 << 1 | 1, 0, 0, 0, 0, 0], &[0; 8]);
        assert_eq!(status.into_bits(), 0x0041);
        assert!(status.delivers(3) && !status.delivers(4));
        let served =
            InterruptStatus::of(&[0, 0, 1, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 1 << 31]);
        assert_eq!(served.into_bits(), 0xff40);
        assert!(!served.delivers(0));
        assert!(!InterruptStatus::new().delivers(0));
        let floor = InterruptStatus::of(&[FLOOR, 0, 0, 0, 0, 0, 0, 0], &[0; 8]);
        assert_eq!(floor, InterruptStatus::new());
    }
}
