//! Extended Capability Register. Intel Virtualization Technology for Directed I/O, "Extended Capability Register".

use bitfield_struct::bitfield;

/// What else the unit can do.
#[bitfield(u64)]
pub(crate) struct ExtendedCapability {
    /// The walker snoops processor caches.
    #[bits(access = RO)]
    pub coherent: bool,
    /// Queued invalidation.
    #[bits(access = RO)]
    pub queued_invalidation: bool,
    /// Device translation caches.
    #[bits(access = RO)]
    pub device_caches: bool,
    /// Interrupt remapping.
    #[bits(access = RO)]
    pub interrupt_remapping: bool,
    /// Interrupts can go to 32-bit x2APIC ids.
    #[bits(access = RO)]
    pub extended_interrupts: bool,
    __: bool,
    /// Pass-through of a requester.
    #[bits(access = RO)]
    pub pass_through: bool,
    /// Snoop control in second-stage entries.
    #[bits(access = RO)]
    pub snoop_control: bool,
    /// Offset of the invalidation registers, in 16 bytes.
    #[bits(10, access = RO)]
    pub invalidation_offset: u16,
    #[bits(46)]
    __: u64,
}

const _: () = assert!(size_of::<ExtendedCapability>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value() {
        let bits = ExtendedCapability::from_bits(0x00f0_0f5a);
        assert!(!bits.coherent() && bits.queued_invalidation());
        assert!(bits.interrupt_remapping() && bits.extended_interrupts());
        assert!(bits.pass_through() && !bits.snoop_control() && !bits.device_caches());
        assert_eq!(bits.invalidation_offset(), 0xf);
        assert!(ExtendedCapability::from_bits(1).coherent());
        assert!(ExtendedCapability::from_bits(1 << 2).device_caches());
        assert!(ExtendedCapability::from_bits(1 << 7).snoop_control());
    }
}
