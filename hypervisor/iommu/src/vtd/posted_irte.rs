//! Interrupt Remapping Table Entry for posted interrupts. Intel Virtualization Technology for Directed I/O, "Interrupt Remapping
//! Table Entry (IRTE) for Posted Interrupts": 128 bits.

use bitfield_struct::bitfield;

use super::irte::IrteHigh;
use crate::{Posting, Source};

/// Lower half: what is posted, and the lower half of where.
#[bitfield(u64)]
pub(crate) struct PostedIrteLow {
    /// The entry is used.
    pub present: bool,
    /// Faults of this entry are not recorded, used or not.
    pub fault_disable: bool,
    #[bits(12)]
    __: u16,
    /// The processor is told even where the descriptor says that it is not to be. Never set.
    pub urgent: bool,
    /// The entry is posted: always.
    pub posted: bool,
    /// Vector of the guest's.
    pub vector: u8,
    #[bits(14)]
    __: u16,
    /// Bits 31 to 6 of the descriptor's address.
    #[bits(26)]
    pub descriptor_low: u32,
}

/// Upper half: who may raise it, as in an entry for remapped interrupts, and the rest of where.
#[bitfield(u64)]
pub(crate) struct PostedIrteHigh {
    /// As [`IrteHigh`] has them.
    #[bits(20)]
    pub source: u32,
    #[bits(12)]
    __: u16,
    /// Bits 63 to 32 of the descriptor's address.
    pub descriptor_high: u32,
}

impl PostedIrteLow {
    /// Posts one vector into one descriptor.
    pub(crate) const fn to(posting: Posting) -> Self {
        Self::new()
            .with_present(true)
            .with_posted(true)
            .with_vector(posting.vector.0)
            .with_descriptor_low(posting.descriptor.as_u64() as u32 >> 6)
    }
}

impl PostedIrteHigh {
    /// Only `source` may raise the interrupt.
    pub(crate) const fn from(source: Source, posting: Posting) -> Self {
        Self::new()
            .with_source(IrteHigh::from(source).into_bits() as u32)
            .with_descriptor_high((posting.descriptor.as_u64() >> 32) as u32)
    }
}

const _: () = assert!(size_of::<PostedIrteLow>() + size_of::<PostedIrteHigh>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use address::{RequesterId, Spa, Vector};

    const POSTING: Posting = Posting {
        descriptor: Spa::new(0x0012_3456_89ab_cdc0),
        vector: Vector(0xa5),
    };

    #[test]
    fn raw_values_of_the_descriptor() {
        let low = PostedIrteLow::to(POSTING).into_bits();
        assert_eq!(low, 0x89ab_cdc0_00a5_8001);
        let exact = Source::Exact(RequesterId(0x0318));
        let high = PostedIrteHigh::from(exact, POSTING).into_bits();
        assert_eq!(high, 0x0012_3456_0004_0318);
        let buses = Source::Buses { first: 2, last: 5 };
        let high = PostedIrteHigh::from(buses, POSTING).into_bits();
        assert_eq!(high, 0x0012_3456_0008_0205);
    }

    #[test]
    fn raw_values_of_what_is_never_written() {
        assert_eq!(PostedIrteLow::new().with_urgent(true).into_bits(), 1 << 14);
        let quiet = PostedIrteLow::new().with_fault_disable(true);
        assert_eq!(quiet.into_bits(), 2);
    }
}
