//! Memory-mapped registers at identity addresses.

use core::arch::asm;

use crate::memory;

/// A region of device registers. Every access is one MOV of its width, which is all that an emulator behind a memory
/// intercept has to decode. Reads outside the region give all ones, writes there go nowhere, as on a bus.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: u64,
    length: u64,
}

macro_rules! access {
    ($(#[$doc:meta])* $read:ident, $(#[$doc2:meta])* $write:ident, $type:ty, $class:ident, $modifier:literal) => {
        $(#[$doc])*
        #[must_use]
        pub fn $read(&self, offset: u64) -> $type {
            let Some(address) = self.address(offset, size_of::<$type>() as u64) else { return <$type>::MAX };
            let value: $type;
            // SAFETY: `map` let no memory of this program into the region; it is mapped at its own address.
            unsafe {
                asm!(concat!("mov {0", $modifier, "}, [{1}]"), out($class) value, in(reg) address,
                    options(nostack, preserves_flags));
            }
            value
        }

        $(#[$doc2])*
        pub fn $write(&self, offset: u64, value: $type) {
            let Some(address) = self.address(offset, size_of::<$type>() as u64) else { return };
            // SAFETY: as for reads.
            unsafe {
                asm!(concat!("mov [{1}], {0", $modifier, "}"), in($class) value, in(reg) address,
                    options(nostack, preserves_flags));
            }
        }
    };
}

impl Mmio {
    /// The registers at `base`, identity-mapped; `None` where the range wraps or holds memory of this program.
    #[must_use]
    pub fn map(base: u64, length: u64) -> Option<Self> {
        let end = base.checked_add(length)?;
        (!memory::overlaps_ram(base, end)).then_some(Self { base, length })
    }

    /// First address.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Writes four bytes, and gives the time stamp of just before.
    pub fn write32_stamped(&self, offset: u64, value: u32) -> u64 {
        let Some(address) = self.address(offset, 4) else {
            return 0;
        };
        let (low, high): (u64, u64);
        // SAFETY: as for `write32`.
        unsafe {
            asm!("lfence", "rdtsc", "mov [{1}], {0:e}", in(reg) value, in(reg) address,
                out("rax") low, out("rdx") high, options(nostack, preserves_flags));
        }
        high << 32 | low
    }

    const fn address(&self, offset: u64, size: u64) -> Option<u64> {
        match offset.checked_add(size) {
            Some(end) if end <= self.length && offset.is_multiple_of(size) => {
                Some(self.base + offset)
            }
            _ => None,
        }
    }

    access!(
        /// Reads a byte.
        read8,
        /// Writes a byte.
        write8, u8, reg_byte, ""
    );
    access!(
        /// Reads two bytes at an even offset.
        read16,
        /// Writes two bytes at an even offset.
        write16, u16, reg, ":x"
    );
    access!(
        /// Reads four bytes at a multiple of four.
        read32,
        /// Writes four bytes at a multiple of four.
        write32, u32, reg, ":e"
    );
    access!(
        /// Reads eight bytes at a multiple of eight.
        read64,
        /// Writes eight bytes at a multiple of eight.
        write64, u64, reg, ":r"
    );
}
