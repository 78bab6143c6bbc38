//! Where the emulated things of a child stand.

use crate::facts::Span;

/// MMIO window for the BARs of a child's devices.
pub const BARS: Span = Span {
    start: 0xc000_0000,
    length: 0x2000_0000,
};
/// Memory-mapped configuration space: bus 0 alone.
pub const ECAM: Span = Span {
    start: 0xe000_0000,
    length: 0x10_0000,
};
/// First port of the UART.
pub const UART: u16 = 0x3f8;
/// The port that ends the guest.
pub const EXIT: u16 = 0xf4;
/// Address port of configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3).
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// Its data port.
pub const CONFIG_DATA: u16 = 0xcfc;
