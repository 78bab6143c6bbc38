//! I/O ports.

use core::arch::asm;

macro_rules! access {
    ($(#[$doc:meta])* $read:ident, $(#[$doc2:meta])* $write:ident, $type:ty, $in:literal, $out:tt) => {
        $(#[$doc])*
        #[must_use]
        pub fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: a port read touches no memory of this program, and no device that a guest of Portcullis
            // reaches by ports writes memory because of one.
            unsafe { asm!($in, in("dx") port, out($out) value, options(nomem, nostack, preserves_flags)) };
            value
        }

        $(#[$doc2])*
        pub fn $write(port: u16, value: $type) {
            // SAFETY: as above.
            unsafe { asm!(concat!("out dx, ", $out), in("dx") port, in($out) value, options(nomem, nostack, preserves_flags)) };
        }
    };
}

access!(
    /// Reads a byte.
    read8,
    /// Writes a byte.
    write8, u8, "in al, dx", "al"
);
access!(
    /// Reads two bytes.
    read16,
    /// Writes two bytes.
    write16, u16, "in ax, dx", "ax"
);
access!(
    /// Reads four bytes.
    read32,
    /// Writes four bytes.
    write32, u32, "in eax, dx", "eax"
);
