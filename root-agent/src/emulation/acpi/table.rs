//! ACPI Specification 6.5, 5.2.6 "System Description Table Header".

use alloc::vec::Vec;

/// A table: header, body, checksum.
pub fn finish(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Vec::from(signature);
    table.extend((36 + body.len() as u32).to_le_bytes());
    table.extend([revision, 0]);
    table.extend(b"PORTCUPORTCULL");
    table.extend(1u32.to_le_bytes());
    table.extend(b"PORT");
    table.extend(1u32.to_le_bytes());
    table.extend(body);
    let sum = checksum(&table);
    if let Some(place) = table.get_mut(9) {
        *place = sum;
    }
    table
}

/// The byte that makes the sum of all bytes 0.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte))
        .wrapping_neg()
}
