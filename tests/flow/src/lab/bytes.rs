//! Bytes in a memory of 64-bit words.

use model::Memory;

/// Reads bytes.
pub fn get(memory: &Memory, at: u64, to: &mut [u8]) {
    for (byte, at) in to.iter_mut().zip(at..) {
        *byte = (memory.read(at) >> ((at & 7) * 8)) as u8;
    }
}

/// Writes bytes.
pub fn put(memory: &Memory, at: u64, from: &[u8]) {
    for (&byte, at) in from.iter().zip(at..) {
        let shift = (at & 7) * 8;
        let word = memory.read(at) & !(0xff << shift) | u64::from(byte) << shift;
        memory.write(at, word);
    }
}
