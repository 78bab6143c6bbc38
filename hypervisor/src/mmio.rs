//! Device registers in memory, through the direct map, which maps everything that is not RAM uncached.

use address::Spa;

use crate::memory::{is_covered, virtual_of};

/// A block of registers that the hypervisor keeps.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    base: Spa,
    len: u64,
}

macro_rules! registers {
    ($read:ident, $write:ident, $number:ty, $bytes:literal) => {
        /// The register at `offset`, read with one access; all ones outside the block.
        pub fn $read(&self, offset: u64) -> $number {
            let Some(place) = self.place(offset, $bytes) else {
                return <$number>::MAX;
            };
            // SAFETY: aligned, and inside a block of registers that the hypervisor keeps.
            unsafe { place.cast::<$number>().read_volatile() }
        }

        /// Writes the register at `offset` with one access; nothing outside the block.
        pub fn $write(&self, offset: u64, value: $number) {
            if let Some(place) = self.place(offset, $bytes) {
                // SAFETY: as for reading.
                unsafe { place.cast::<$number>().write_volatile(value) };
            }
        }
    };
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

    registers!(read_8, write_8, u8, 1);
    registers!(read_16, write_16, u16, 2);
    registers!(read_32, write_32, u32, 4);
    registers!(read_64, write_64, u64, 8);
}
