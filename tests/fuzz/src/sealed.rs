//! Gives bytes a header that passes, so that mutations reach what is behind it.

/// The bytes with this signature and a right length and checksum; at least a header.
pub(crate) fn sealed(data: &[u8], signature: [u8; 4]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().clamp(36, 1 << 16), 0);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&signature);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[9] = 0;
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[9] = sum.wrapping_neg();
    bytes
}
