//! Device registers in memory, through the direct map, which maps everything that is not RAM uncached.

use address::Spa;

use crate::memory::{is_covered, virtual_of};

/// A block of registers that the hypervisor keeps.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    base: Spa,
    len: u64,
}

impl Registers {
    /// The block of `len` bytes at `base`; `None` where the direct map does not cover it.
    pub fn new(base: Spa, len: u64) -> Option<Self> {
        is_covered(base, len).then_some(Self { base, len })
    }

    /// First byte and length.
    pub fn extent(&self) -> (Spa, u64) {
        (self.base, self.len)
    }

    fn place(&self, offset: u64, width: u64) -> Option<*mut u8> {
        let inside = offset.is_multiple_of(width) && offset.checked_add(width)? <= self.len;
        inside.then(|| virtual_of(self.base.as_u64() + offset))
    }

    /// The 32-bit register at `offset`; all ones outside the block.
    pub fn read_32(&self, offset: u64) -> u32 {
        // SAFETY: aligned, inside a block of registers that the hypervisor keeps.
        self.place(offset, 4).map_or(u32::MAX, |place| unsafe {
            place.cast::<u32>().read_volatile()
        })
    }

    /// The 64-bit register at `offset`; all ones outside the block.
    pub fn read_64(&self, offset: u64) -> u64 {
        // SAFETY: as for `read_32`.
        self.place(offset, 8).map_or(u64::MAX, |place| unsafe {
            place.cast::<u64>().read_volatile()
        })
    }

    /// Writes the 32-bit register at `offset`; nothing outside the block.
    pub fn write_32(&self, offset: u64, value: u32) {
        if let Some(place) = self.place(offset, 4) {
            // SAFETY: as for `read_32`.
            unsafe { place.cast::<u32>().write_volatile(value) };
        }
    }

    /// Writes the 64-bit register at `offset`; nothing outside the block.
    pub fn write_64(&self, offset: u64, value: u64) {
        if let Some(place) = self.place(offset, 8) {
            // SAFETY: as for `read_32`.
            unsafe { place.cast::<u64>().write_volatile(value) };
        }
    }
}
