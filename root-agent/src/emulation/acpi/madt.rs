//! ACPI Specification 6.5, 5.2.12 "Multiple APIC Description Table".

use alloc::vec::Vec;

use super::table;

const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;
const ENABLED: u32 = 1;

/// One local APIC per VP, its id the VP's index; no I/O APIC: devices send messages.
pub fn build(vps: u32) -> Vec<u8> {
    let mut body = Vec::from(LOCAL_APIC_ADDRESS.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    for vp in 0..vps {
        match u8::try_from(vp) {
            Ok(id) if id < 0xff => {
                body.extend([0, 8, id, id]);
                body.extend(ENABLED.to_le_bytes());
            }
            _ => {
                body.extend([9, 16, 0, 0]);
                [vp, ENABLED, vp]
                    .iter()
                    .for_each(|word| body.extend(word.to_le_bytes()));
            }
        }
    }
    table::finish(*b"APIC", 4, &body)
}
