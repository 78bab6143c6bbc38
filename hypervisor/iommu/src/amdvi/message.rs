//! Interrupt requests. AMD I/O Virtualization Technology (IOMMU) Specification, "Interrupt Remapping": the low 11 bits of a
//! message's data choose the entry in the requester's own table. Bits 10 to 8 are its delivery mode as well, of which only fixed
//! and arbitrated are remapped: so an index has 9 bits. Intel 82093AA I/O APIC, "I/O redirection table registers".

use address::Vector;
use bitfield_struct::bitfield;

use crate::{Message, Polarity, Trigger};

/// A pin's redirection entry.
#[bitfield(u64)]
pub(crate) struct PinEntry {
    /// Index of the interrupt entry.
    #[bits(9)]
    pub index: u16,
    #[bits(4)]
    __: u8,
    /// Active low.
    pub low: bool,
    __: bool,
    /// Level-triggered.
    pub level: bool,
    /// Masked.
    pub masked: bool,
    #[bits(47)]
    __: u64,
}

/// The message for an entry.
pub(crate) const fn message(index: u16) -> Message {
    Message {
        address: 0xfee0_0000,
        data: index as u32 & 0x1ff,
    }
}

/// The redirection entry for an entry. The vector is the interrupt entry's business.
pub(crate) const fn pin(
    index: u16,
    _vector: Vector,
    trigger: Trigger,
    polarity: Polarity,
) -> PinEntry {
    PinEntry::new()
        .with_index(index & 0x1ff)
        .with_low(matches!(polarity, Polarity::Low))
        .with_level(matches!(trigger, Trigger::Level))
}

const _: () = assert!(size_of::<PinEntry>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_of_messages() {
        assert_eq!(message(0).address, 0xfee0_0000);
        assert_eq!(message(0).data, 0);
        assert_eq!(message(0x1ff).data, 0x1ff);
    }

    #[test]
    fn raw_values_of_pins() {
        let edge = pin(0x25, Vector(0x31), Trigger::Edge, Polarity::High);
        assert_eq!(edge.into_bits(), 0x25);
        let level = pin(0x125, Vector(0x31), Trigger::Level, Polarity::Low);
        assert_eq!(level.into_bits(), 0xa125);
        assert_eq!(edge.with_masked(true).into_bits() >> 16 & 1, 1);
    }
}
