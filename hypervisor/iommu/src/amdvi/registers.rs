//! Offsets of the registers. AMD I/O Virtualization Technology (IOMMU) Specification, "MMIO Registers".

/// Device table base address, 64 bits.
pub(crate) const DEVICE_TABLE: usize = 0x00;
/// Command buffer base address, 64 bits.
pub(crate) const COMMAND_BASE: usize = 0x08;
/// Event log base address, 64 bits.
pub(crate) const EVENT_BASE: usize = 0x10;
/// Control, 64 bits.
pub(crate) const CONTROL: usize = 0x18;
/// Exclusion range base, 64 bits. Written with zero only: no range is ever excluded.
pub(crate) const EXCLUSION_BASE: usize = 0x20;
/// Exclusion range limit, 64 bits. As its base.
pub(crate) const EXCLUSION_LIMIT: usize = 0x28;
/// Extended features, 64 bits.
pub(crate) const EXTENDED_FEATURE: usize = 0x30;
/// x2APIC interrupt control of the event log, 64 bits.
pub(crate) const EVENT_INTERRUPT: usize = 0x170;
/// Command buffer head, 64 bits.
pub(crate) const COMMAND_HEAD: usize = 0x2000;
/// Command buffer tail, 64 bits.
pub(crate) const COMMAND_TAIL: usize = 0x2008;
/// Event log head, 64 bits.
pub(crate) const EVENT_HEAD: usize = 0x2010;
/// Event log tail, 64 bits.
pub(crate) const EVENT_TAIL: usize = 0x2018;
/// Status, 64 bits.
pub(crate) const STATUS: usize = 0x2020;

/// Bytes of the block, performance counters excluded.
pub(crate) const BLOCK_BYTES: usize = 0x4000;

/// Device table base address: 512 frames, less one: an entry for each of the 65,536 requester ids.
pub(crate) const DEVICE_TABLE_SIZE: u64 = 511;
/// Command buffer and event log base addresses: 2^8 entries, which fill one frame.
pub(crate) const ONE_FRAME: u64 = 8 << 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_naturally_aligned_and_inside_the_block() {
        for offset in [
            DEVICE_TABLE,
            COMMAND_BASE,
            EVENT_BASE,
            CONTROL,
            EXCLUSION_BASE,
            EXCLUSION_LIMIT,
            EXTENDED_FEATURE,
            EVENT_INTERRUPT,
            COMMAND_HEAD,
            COMMAND_TAIL,
            EVENT_HEAD,
            EVENT_TAIL,
            STATUS,
        ] {
            assert_eq!(offset % 8, 0);
            assert!(offset + 8 <= BLOCK_BYTES);
        }
        assert_eq!(DEVICE_TABLE_SIZE, 65_536 * 32 / 4096 - 1);
        assert_eq!(ONE_FRAME, 0x0800_0000_0000_0000);
    }
}
