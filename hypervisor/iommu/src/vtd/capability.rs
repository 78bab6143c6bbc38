//! Capability Register. Intel Virtualization Technology for Directed I/O, "Capability Register".

use bitfield_struct::bitfield;

/// What the unit can do.
#[bitfield(u64)]
pub(crate) struct Capability {
    /// The unit tags 2^(4 + 2n) domains; 7 is reserved.
    #[bits(3, access = RO)]
    pub domains: u8,
    __: bool,
    /// Write buffers must be flushed before structures written to memory count.
    #[bits(access = RO)]
    pub write_buffer_flush: bool,
    /// A low protected region exists.
    #[bits(access = RO)]
    pub protected_low: bool,
    /// A high protected region exists.
    #[bits(access = RO)]
    pub protected_high: bool,
    /// Entries that are not present may be cached.
    #[bits(access = RO)]
    pub caching_mode: bool,
    /// Depths of second-stage tables: bit 1 three levels, bit 2 four, bit 3 five.
    #[bits(5, access = RO)]
    pub depths: u8,
    #[bits(3)]
    __: u8,
    /// Maximum guest address width, less one.
    #[bits(6, access = RO)]
    pub address_width: u8,
    #[bits(2)]
    __: u8,
    /// Offset of the fault recording registers, in 16 bytes.
    #[bits(10, access = RO)]
    pub fault_offset: u16,
    /// Second-stage large pages: bit 0 2 MiB, bit 1 1 GiB.
    #[bits(4, access = RO)]
    pub large_pages: u8,
    __: bool,
    /// Page-selective invalidation.
    #[bits(access = RO)]
    pub page_selective: bool,
    /// Fault recording registers, less one.
    #[bits(8, access = RO)]
    pub fault_records: u8,
    /// Largest address mask of a page-selective invalidation.
    #[bits(6, access = RO)]
    pub address_mask: u8,
    /// Invalidations can wait for writes under way.
    #[bits(access = RO)]
    pub drains_writes: bool,
    /// Invalidations can wait for reads under way.
    #[bits(access = RO)]
    pub drains_reads: bool,
    #[bits(3)]
    __: u8,
    /// Interrupts can be posted.
    #[bits(access = RO)]
    pub posts_interrupts: bool,
    #[bits(4)]
    __: u8,
}

const _: () = assert!(size_of::<Capability>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_value_of_an_emulated_unit() {
        // 48 bits, 3 and 4 levels, 2 MiB and 1 GiB, 16-bit domain names, mask 18, one record at 220h, draining.
        let bits = Capability::from_bits(0x00d2_008c_222f_0686);
        assert_eq!(bits.domains(), 6);
        assert!(bits.caching_mode() && !bits.write_buffer_flush());
        assert_eq!(bits.depths(), 0b00110);
        assert_eq!(bits.address_width(), 47);
        assert_eq!(bits.fault_offset(), 0x22);
        assert_eq!(bits.large_pages(), 3);
        assert!(bits.page_selective());
        assert_eq!(bits.fault_records(), 0);
        assert_eq!(bits.address_mask(), 18);
        assert!(bits.drains_reads() && bits.drains_writes());
    }

    #[test]
    fn single_bits() {
        assert!(Capability::from_bits(1 << 4).write_buffer_flush());
        assert!(Capability::from_bits(1 << 5).protected_low());
        assert!(Capability::from_bits(1 << 6).protected_high());
        assert!(Capability::from_bits(1 << 54).drains_writes());
        assert!(Capability::from_bits(1 << 55).drains_reads());
        assert!(Capability::from_bits(1 << 59).posts_interrupts());
        assert_eq!(Capability::from_bits(7 << 40).fault_records(), 7);
    }
}
