//! Interrupt Remapping Table Entry for remapped interrupts. Intel Virtualization Technology for Directed I/O, "Interrupt Remapping
//! Table Entry (IRTE) for Remapped Interrupts": 128 bits.

use bitfield_struct::bitfield;

use crate::{Source, Target, Trigger};

/// Lower half: where the interrupt goes.
#[bitfield(u64)]
pub(crate) struct IrteLow {
    /// The entry is used.
    pub present: bool,
    /// Faults of this entry are not recorded, used or not.
    pub fault_disable: bool,
    /// Logical destination. Never set.
    pub logical: bool,
    /// Redirection hint. Never set.
    pub redirection_hint: bool,
    /// Level-triggered.
    pub level: bool,
    /// Delivery mode; 0, fixed, always.
    #[bits(3)]
    pub delivery_mode: u8,
    #[bits(7)]
    __: u8,
    /// The entry is posted, and not of this format. Never set.
    pub posted: bool,
    /// Vector.
    pub vector: u8,
    __: u8,
    /// x2APIC id of the processor.
    pub destination: u32,
}

/// Upper half: who may raise it.
#[bitfield(u64)]
pub(crate) struct IrteHigh {
    /// Requester, or first bus in the upper byte and last bus in the lower.
    pub source: u16,
    /// Which bits of the requester count: 0, all.
    #[bits(2)]
    pub qualifier: u8,
    /// 0 nothing is checked (never written), 1 the requester, 2 its bus.
    #[bits(2)]
    pub validation: u8,
    #[bits(44)]
    __: u64,
}

const VALIDATE_REQUESTER: u8 = 1;
const VALIDATE_BUS: u8 = 2;

impl IrteLow {
    /// Fixed delivery of one vector to one processor.
    pub(crate) const fn to(target: Target) -> Self {
        Self::new()
            .with_present(true)
            .with_level(matches!(target.trigger, Trigger::Level))
            .with_vector(target.vector.0)
            .with_destination(target.apic.0)
    }

    /// The same entry, of either format, held back: what is raised meanwhile is lost without a fault.
    pub(crate) const fn masked(self, masked: bool) -> Self {
        self.with_present(!masked).with_fault_disable(masked)
    }

    /// Whether it is held back.
    pub(crate) const fn is_masked(self) -> bool {
        !self.present() && self.fault_disable()
    }
}

impl IrteHigh {
    /// Whether both admit the same requesters, whichever format each is of.
    pub(crate) const fn admits_as(self, other: Self) -> bool {
        let mask = Self::new()
            .with_source(0xffff)
            .with_qualifier(3)
            .with_validation(3);
        (self.into_bits() ^ other.into_bits()) & mask.into_bits() == 0
    }

    /// Only `source` may raise the interrupt.
    pub(crate) const fn from(source: Source) -> Self {
        match source {
            Source::Exact(requester) => Self::new()
                .with_source(requester.0)
                .with_validation(VALIDATE_REQUESTER),
            Source::Buses { first, last } => Self::new()
                .with_source((first as u16) << 8 | last as u16)
                .with_validation(VALIDATE_BUS),
        }
    }
}

const _: () = assert!(size_of::<IrteLow>() + size_of::<IrteHigh>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use address::{ApicId, RequesterId, Vector};

    const TARGET: Target = Target {
        apic: ApicId(0x0102_0304),
        vector: Vector(0x41),
        trigger: Trigger::Edge,
    };

    #[test]
    fn raw_values_of_the_target() {
        assert_eq!(IrteLow::to(TARGET).into_bits(), 0x0102_0304_0041_0001);
        let level = Target {
            trigger: Trigger::Level,
            ..TARGET
        };
        assert_eq!(IrteLow::to(level).into_bits(), 0x0102_0304_0041_0011);
        assert_eq!(
            IrteLow::to(TARGET).masked(true).into_bits(),
            0x0102_0304_0041_0002
        );
        assert_eq!(
            IrteLow::to(TARGET).masked(true).masked(false).into_bits(),
            IrteLow::to(TARGET).into_bits()
        );
    }

    #[test]
    fn raw_values_of_what_is_never_written() {
        assert_eq!(IrteLow::new().with_logical(true).into_bits(), 1 << 2);
        assert_eq!(
            IrteLow::new().with_redirection_hint(true).into_bits(),
            1 << 3
        );
        assert_eq!(IrteLow::new().with_delivery_mode(7).into_bits(), 7 << 5);
        assert_eq!(IrteLow::new().with_posted(true).into_bits(), 1 << 15);
        assert_eq!(IrteHigh::new().with_qualifier(3).into_bits(), 3 << 16);
    }

    #[test]
    fn raw_values_of_the_source() {
        let exact = IrteHigh::from(Source::Exact(RequesterId(0x0318)));
        assert_eq!(exact.into_bits(), 0x0004_0318);
        let buses = IrteHigh::from(Source::Buses { first: 2, last: 5 });
        assert_eq!(buses.into_bits(), 0x0008_0205);
    }
}
