//! Interrupt Remapping Table Entry. AMD I/O Virtualization Technology (IOMMU) Specification, "Interrupt Remapping Tables": 32 bits,
//! or 128 bits ("Interrupt Virtualization Tables with Guest Virtual APIC Enabled"), of which the unguested form is used.

use address::ApicId;
use bitfield_struct::bitfield;

use crate::Target;

/// The entry of 32 bits.
#[bitfield(u32)]
#[derive(Eq, PartialEq)]
pub(crate) struct Narrow {
    /// The entry is used.
    pub remapped: bool,
    /// Faults of this entry are not logged.
    pub suppress_faults: bool,
    /// Interrupt type; 0, fixed, always.
    #[bits(3)]
    pub kind: u8,
    /// An end of interrupt is asked for. Never set.
    pub request_end: bool,
    /// Logical destination. Never set.
    pub logical: bool,
    /// Guest mode. Never set.
    pub guest_mode: bool,
    /// Local APIC id of the processor.
    pub destination: u8,
    /// Vector.
    pub vector: u8,
    __: u8,
}

/// Lower half of the entry of 128 bits.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct WideLow {
    /// The entry is used.
    pub remapped: bool,
    /// Faults of this entry are not logged.
    pub suppress_faults: bool,
    /// Interrupt type; 0, fixed, always.
    #[bits(3)]
    pub kind: u8,
    /// An end of interrupt is asked for. Never set.
    pub request_end: bool,
    /// Logical destination. Never set.
    pub logical: bool,
    /// Guest mode. Never set.
    pub guest_mode: bool,
    /// x2APIC id of the processor, bits 23 to 0.
    #[bits(24)]
    pub destination_23_0: u32,
    #[bits(32)]
    __: u32,
}

/// Upper half of the entry of 128 bits.
#[bitfield(u64)]
#[derive(Eq, PartialEq)]
pub(crate) struct WideHigh {
    /// Vector.
    pub vector: u8,
    #[bits(48)]
    __: u64,
    /// x2APIC id of the processor, bits 31 to 24.
    pub destination_31_24: u8,
}

impl Narrow {
    /// Whether the entry can name this processor: all ones is everybody.
    pub(crate) const fn reaches(apic: ApicId) -> bool {
        apic.0 < 0xff
    }

    /// Fixed delivery of one vector to one processor.
    pub(crate) const fn to(target: Target) -> Self {
        Self::new()
            .with_remapped(true)
            .with_destination(target.apic.0 as u8)
            .with_vector(target.vector.0)
    }

    /// The same entry held back: what is raised meanwhile is lost without a fault.
    pub(crate) const fn masked(self, masked: bool) -> Self {
        self.with_remapped(!masked).with_suppress_faults(masked)
    }
}

impl WideLow {
    /// Whether the entry can name this processor: all ones is everybody.
    pub(crate) const fn reaches(apic: ApicId) -> bool {
        apic.0 != u32::MAX
    }

    /// The same entry held back.
    pub(crate) const fn masked(self, masked: bool) -> Self {
        self.with_remapped(!masked).with_suppress_faults(masked)
    }
}

/// The halves of the entry of 128 bits: fixed delivery of one vector to one processor.
pub(crate) const fn wide(target: Target) -> (WideLow, WideHigh) {
    let low = WideLow::new()
        .with_remapped(true)
        .with_destination_23_0(target.apic.0 & 0xff_ffff);
    let high = WideHigh::new()
        .with_vector(target.vector.0)
        .with_destination_31_24((target.apic.0 >> 24) as u8);
    (low, high)
}

const _: () = assert!(size_of::<Narrow>() == 4);
const _: () = assert!(size_of::<WideLow>() + size_of::<WideHigh>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trigger;
    use address::Vector;

    const TARGET: Target = Target {
        apic: ApicId(0x0102_0304),
        vector: Vector(0x41),
        trigger: Trigger::Edge,
    };

    #[test]
    fn raw_values_of_the_narrow_entry() {
        let target = Target {
            apic: ApicId(0x12),
            ..TARGET
        };
        assert_eq!(Narrow::to(target).into_bits(), 0x0041_1201);
        assert_eq!(Narrow::to(target).masked(true).into_bits(), 0x0041_1202);
        let back = Narrow::to(target).masked(true).masked(false);
        assert_eq!(back, Narrow::to(target));
        assert!(Narrow::reaches(ApicId(0xfe)) && !Narrow::reaches(ApicId(0xff)));
    }

    #[test]
    fn raw_values_of_the_wide_entry() {
        let (low, high) = wide(TARGET);
        assert_eq!(low.into_bits(), 0x0203_0401);
        assert_eq!(high.into_bits(), 0x0100_0000_0000_0041);
        assert_eq!(low.masked(true).into_bits(), 0x0203_0402);
        assert_eq!(low.masked(true).masked(false), low);
        assert!(WideLow::reaches(ApicId(0xff)) && !WideLow::reaches(ApicId(u32::MAX)));
    }

    #[test]
    fn raw_values_of_what_is_never_written() {
        assert_eq!(Narrow::new().with_kind(7).into_bits(), 7 << 2);
        assert_eq!(Narrow::new().with_request_end(true).into_bits(), 1 << 5);
        assert_eq!(Narrow::new().with_logical(true).into_bits(), 1 << 6);
        assert_eq!(Narrow::new().with_guest_mode(true).into_bits(), 1 << 7);
        assert_eq!(WideLow::new().with_kind(7).into_bits(), 7 << 2);
        assert_eq!(WideLow::new().with_request_end(true).into_bits(), 1 << 5);
        assert_eq!(WideLow::new().with_logical(true).into_bits(), 1 << 6);
        assert_eq!(WideLow::new().with_guest_mode(true).into_bits(), 1 << 7);
    }
}
