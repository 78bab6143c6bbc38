//! Offsets of the remapping registers. Intel Virtualization Technology for Directed I/O, "Remapping Registers", "Register
//! Location".

/// Architecture version, 32 bits.
pub(crate) const VERSION: usize = 0x00;
/// Capabilities, 64 bits.
pub(crate) const CAPABILITY: usize = 0x08;
/// Extended capabilities, 64 bits.
pub(crate) const EXTENDED_CAPABILITY: usize = 0x10;
/// Global command, 32 bits, write-only.
pub(crate) const GLOBAL_COMMAND: usize = 0x18;
/// Global status, 32 bits.
pub(crate) const GLOBAL_STATUS: usize = 0x1c;
/// Root table address, 64 bits.
pub(crate) const ROOT_TABLE: usize = 0x20;
/// Fault status, 32 bits.
pub(crate) const FAULT_STATUS: usize = 0x34;
/// Fault event control, 32 bits.
pub(crate) const FAULT_CONTROL: usize = 0x38;
/// Fault event data, 32 bits.
pub(crate) const FAULT_DATA: usize = 0x3c;
/// Fault event address, 32 bits.
pub(crate) const FAULT_ADDRESS: usize = 0x40;
/// Fault event upper address, 32 bits.
pub(crate) const FAULT_UPPER_ADDRESS: usize = 0x44;
/// Protected memory enable, 32 bits.
pub(crate) const PROTECTED_MEMORY: usize = 0x64;
/// Invalidation queue head, 64 bits.
pub(crate) const QUEUE_HEAD: usize = 0x80;
/// Invalidation queue tail, 64 bits.
pub(crate) const QUEUE_TAIL: usize = 0x88;
/// Invalidation queue address, 64 bits.
pub(crate) const QUEUE_ADDRESS: usize = 0x90;
/// Interrupt remapping table address, 64 bits.
pub(crate) const INTERRUPT_TABLE: usize = 0xb8;

/// End of the registers at fixed offsets that are used here.
pub(crate) const FIXED_END: usize = 0xc0;

/// Protected memory enable: the regions are on.
pub(crate) const PROTECTED_MEMORY_ENABLE: u32 = 1 << 31;
/// Protected memory enable: the regions are in force.
pub(crate) const PROTECTED_MEMORY_STATUS: u32 = 1 << 0;

/// Fault event control: the interrupt is masked.
pub(crate) const FAULT_CONTROL_MASKED: u32 = 1 << 31;

/// Root table address: translation table mode, zero for the legacy tables that are used here.
pub(crate) const ROOT_TABLE_MODE: u64 = 3 << 10;

/// Interrupt remapping table address: destinations are 32-bit x2APIC ids.
pub(crate) const INTERRUPT_TABLE_EXTENDED: u64 = 1 << 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_naturally_aligned() {
        for offset in [
            CAPABILITY,
            EXTENDED_CAPABILITY,
            ROOT_TABLE,
            QUEUE_HEAD,
            QUEUE_TAIL,
            QUEUE_ADDRESS,
            INTERRUPT_TABLE,
        ] {
            assert_eq!(offset % 8, 0);
            assert!(offset + 8 <= FIXED_END);
        }
        assert_eq!(INTERRUPT_TABLE_EXTENDED, 0x800);
        assert_eq!(ROOT_TABLE_MODE, 0xc00);
    }
}
