//! PCI Firmware Specification 3.3, 4.1.2 "MCFG Table Description".

use alloc::vec::Vec;

use super::table;
use crate::emulation::map;

/// The window of bus 0.
pub fn build() -> Vec<u8> {
    let mut body = alloc::vec![0u8; 8];
    body.extend(map::ECAM.start.to_le_bytes());
    // Segment 0, buses 0 to 0.
    body.extend([0u8; 8]);
    table::finish(*b"MCFG", 1, &body)
}
