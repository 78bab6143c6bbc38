//! Little-endian fields of hostile bytes.

/// The bytes at an offset; `None` where they are not all there.
pub fn bytes<const N: usize>(file: &[u8], offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..start.checked_add(N)?)?.try_into().ok()
}

/// A 16-bit field.
pub fn u16(file: &[u8], offset: u64) -> Option<u16> {
    bytes(file, offset).map(u16::from_le_bytes)
}

/// A 32-bit field.
pub fn u32(file: &[u8], offset: u64) -> Option<u32> {
    bytes(file, offset).map(u32::from_le_bytes)
}

/// A 64-bit field.
pub fn u64(file: &[u8], offset: u64) -> Option<u64> {
    bytes(file, offset).map(u64::from_le_bytes)
}

/// A range of the file.
pub fn range(file: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    file.get(start..end)
}
