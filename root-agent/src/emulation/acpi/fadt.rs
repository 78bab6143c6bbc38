//! ACPI Specification 6.5, 5.2.9 "Fixed ACPI Description Table".

use alloc::vec::Vec;

use super::table;

/// Body bytes of revision 6.
const BODY: usize = 276 - 36;
/// No legacy devices, no VGA to probe; message-signalled interrupts are fine; no CMOS clock.
const BOOT_ARCHITECTURE: u16 = 1 << 2 | 1 << 5;
/// There is no ACPI hardware.
const HARDWARE_REDUCED: u32 = 1 << 20;

/// A machine without ACPI hardware, whose DSDT is at this address.
pub fn build(dsdt: u64) -> Vec<u8> {
    let mut body = [0u8; BODY];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(place) = body.get_mut(offset - 36..offset - 36 + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(40, &(dsdt as u32).to_le_bytes());
    put(109, &BOOT_ARCHITECTURE.to_le_bytes());
    put(112, &HARDWARE_REDUCED.to_le_bytes());
    put(131, &[5]);
    put(140, &dsdt.to_le_bytes());
    table::finish(*b"FACP", 6, &body)
}
