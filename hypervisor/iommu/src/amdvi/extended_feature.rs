//! Extended Feature Register. AMD I/O Virtualization Technology (IOMMU) Specification, "IOMMU Extended Feature Register [MMIO
//! Offset 0030h]". A unit without the register reads as zero there, which means none of these.

use bitfield_struct::bitfield;

/// The register.
#[bitfield(u64)]
pub(crate) struct ExtendedFeature {
    #[bits(2)]
    __: u8,
    /// Interrupt entries can name 32-bit processors.
    pub x2apic: bool,
    #[bits(3)]
    __: u8,
    /// There is a command that forgets everything.
    pub invalidate_all: bool,
    /// Interrupt entries can have 128 bits.
    pub wide_interrupts: bool,
    __: bool,
    /// There are performance counters.
    pub performance_counters: bool,
    /// Most levels of a host table, less four. 3 is reserved.
    #[bits(2)]
    pub depth: u8,
    #[bits(52)]
    __: u64,
}

impl ExtendedFeature {
    /// Most levels of a host table; `None` where the register says what does not exist.
    pub(crate) const fn levels(self) -> Option<u8> {
        match self.depth() {
            extra @ 0..=2 => Some(4 + extra),
            _ => None,
        }
    }

    /// Interrupt entries can name every processor: the wide format is what holds the wide ids.
    pub(crate) const fn reaches_all(self) -> bool {
        self.x2apic() && self.wide_interrupts()
    }
}

const _: () = assert!(size_of::<ExtendedFeature>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values() {
        let emulated = ExtendedFeature::from_bits(0x29d7);
        assert!(emulated.x2apic() && emulated.invalidate_all() && emulated.wide_interrupts());
        assert!(emulated.reaches_all() && !emulated.performance_counters());
        assert_eq!(emulated.levels(), Some(6));
        assert_eq!(ExtendedFeature::from_bits(0).levels(), Some(4));
        assert_eq!(ExtendedFeature::from_bits(1 << 10).levels(), Some(5));
        assert_eq!(ExtendedFeature::from_bits(3 << 10).levels(), None);
        assert!(!ExtendedFeature::from_bits(1 << 2).reaches_all());
        assert!(!ExtendedFeature::from_bits(1 << 7).reaches_all());
        assert!(ExtendedFeature::from_bits(1 << 9).performance_counters());
    }
}
